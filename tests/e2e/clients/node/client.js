'use strict';
// Calls every service of a node with the npm package `soap`; each answer is one line of JSON.
//
//   node client.js '{"base": "http://127.0.0.1:8080", "soap": "1.2", "wsdl": "...", "digest": "...", ...}'

const fs = require('fs');
const path = require('path');
const soap = require('soap');

const told = JSON.parse(process.argv[2]);

async function client(service) {
  const made = await soap.createClientAsync(path.join(told.wsdl, `${service}-1.wsdl`), {
    forceSoap12Headers: told.soap === '1.2',
    endpoint: `${told.base}/soap/${service}/1`,
  });
  const [[name, ports]] = Object.entries(made.wsdl.describeServices());
  const port = Object.keys(ports).find((one) => one.includes(told.soap === '1.2' ? 'Soap12' : 'Soap11'));
  return made[name][port];
}

function ask(port, operation, given) {
  return new Promise((resolve, reject) => {
    port[operation](given, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

async function tell(name, calling) {
  let said;
  try {
    said = { call: name, answer: await calling() };
  } catch (error) {
    const fault = error.root && error.root.Envelope.Body.Fault;
    if (!fault) throw error;
    const detail = fault.Detail || fault.detail || {};
    const family = Object.keys(detail).find((key) => key !== 'attributes');
    said = { call: name, fault: { family, code: family && detail[family].code, text: error.message } };
  }
  process.stdout.write(JSON.stringify(said) + '\n');
}

async function main() {
  const { digest, instance, unknown } = told;
  const storage = await client('storage');
  await tell('stat', async () => (await ask(storage, 'stat', { digest })).stat);
  await tell('getObject', async () =>
    Buffer.from((await ask(storage, 'getObject', { digest })).content, 'base64').toString('hex'));
  await tell('putObject', async () =>
    (await ask(storage, 'putObject', { content: fs.readFileSync(told.file).toString('base64') })).fate);
  await tell('stat of nothing', async () => ask(storage, 'stat', { digest: unknown }));

  const catalog = await client('catalog');
  await tell('queryMappings', async () => (await ask(catalog, 'queryMappings', { instance })).mapping);
  await tell('queryMappings of nothing', async () => ask(catalog, 'queryMappings', { instance: '1.2.3.4' }));

  const federation = await client('federation');
  await tell('members', async () => (await ask(federation, 'members', {})).member);
  await tell('metadata of nobody', async () => ask(federation, 'metadata', { site: 'nowhere' }));

  const recovery = await client('recovery');
  await tell('status', async () => (await ask(recovery, 'status', {})).status);
  await tell('verifyReplicas', async () => (await ask(recovery, 'verifyReplicas', { digest: [digest] })).mapping);
  await tell('repairReplica', async () => (await ask(recovery, 'repairReplica', { digest: [digest] })).digest);
  await tell('verifyReplicas of no digest', async () => ask(recovery, 'verifyReplicas', { digest: ['no digest'] }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
