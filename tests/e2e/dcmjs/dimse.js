'use strict';
// One DIMSE operation of dcmjs-dimse, told as JSON on the command line; the answer is one line of JSON.
//
//   node dimse.js '{"operation": "find", "port": 11112, "calling": "DCMJS", "called": "KONZILIUM", ...}'

const path = require('path');
const { Client, Dataset, Scp, Server, constants, requests, responses, log } = require('dcmjs-dimse');
const { PresentationContextResult, Status } = constants;

log.setLevel('silent');

const wanted = JSON.parse(process.argv[2]);
const answer = { statuses: [], rows: [], files: [], errors: [], counts: null };

const OPERATIONS = {
  echo: () => [new requests.CEchoRequest()],
  store: () => wanted.files.map((file) => new requests.CStoreRequest(file)),
  find: () => [requests.CFindRequest[`create${wanted.level}FindRequest`](wanted.keys)],
  get: () => [get()],
  move: () => [requests.CMoveRequest.createStudyMoveRequest(wanted.destination, wanted.study)],
};

function get() {
  const request = requests.CGetRequest.createStudyGetRequest(wanted.study);
  request.setAddStorageSopClassesToAssociation(true);
  return request;
}

function hear(response) {
  answer.statuses.push(response.getStatus());
  if (response.getStatus() === Status.Pending && response.hasDataset()) {
    answer.rows.push(response.getDataset().getElements());
  }
  if (response.getCompleted) {
    answer.counts = [response.getCompleted(), response.getFailures(), response.getWarnings()];
  }
}

function keep(request, callback) {
  const dataset = request.getDataset();
  const file = path.join(wanted.folder, dataset.getElement('SOPInstanceUID') + '.dcm');
  dataset.toFile(file, (error) => {
    const response = responses.CStoreResponse.fromRequest(request);
    response.setStatus(error ? Status.ProcessingFailure : Status.Success);
    answer.files.push(file);
    callback(response);
  });
}

class Receiver extends Scp {
  associationRequested(association) {
    for (const { id } of association.getPresentationContexts()) {
      const context = association.getPresentationContext(id);
      context.setResult(PresentationContextResult.Accept, context.getTransferSyntaxUids()[0]);
    }
    this.sendAssociationAccept();
  }

  cStoreRequest(request, callback) {
    keep(request, callback);
  }

  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

function receiver() {
  if (!wanted.receive) return null;
  const server = new Server(Receiver);
  server.on('networkError', (error) => answer.errors.push(String(error)));
  server.listen(wanted.receive);
  return server;
}

function main() {
  const server = receiver();
  const client = new Client();
  for (const request of OPERATIONS[wanted.operation]()) {
    request.on('response', hear);
    client.addRequest(request);
  }
  client.on('cStoreRequest', keep);
  client.on('associationRejected', (reject) => answer.errors.push(`rejected ${reject.reason}`));
  client.on('networkError', (error) => answer.errors.push(String(error)));
  client.on('closed', () => {
    if (server) server.close();
    process.stdout.write(JSON.stringify(answer) + '\n', () => process.exit(0));
  });
  client.send('127.0.0.1', wanted.port, wanted.calling, wanted.called, { securityOptions: wanted.tls });
}

main();
