<?php
// Calls every service of a node with PHP's SoapClient; each answer is one line of JSON.
//
//   php client.php '{"base": "http://127.0.0.1:8080", "soap": "1.2", "wsdl": "...", "digest": "...", ...}'
//
// With "tls", messages are only signed at "sign" and this program makes the mutual TLS itself.

$told = json_decode($argv[1], true, 16, JSON_THROW_ON_ERROR);

class Signed extends SoapClient
{
    public string $sign = '';

    public function __doRequest(
        string $request,
        string $location,
        string $action,
        int $version,
        bool $oneWay = false
    ): ?string {
        if ($this->sign !== '') {
            $header = "Content-Type: application/xml\r\nSOAPAction: \"$action\"";
            $signer = stream_context_create(['http' => [
                'method' => 'POST', 'header' => $header, 'content' => $request,
            ]]);
            $request = file_get_contents($this->sign . parse_url($location, PHP_URL_PATH), false, $signer);
        }
        return parent::__doRequest($request, $location, $action, $version, $oneWay);
    }
}

function client(string $service): SoapClient
{
    global $told;
    $options = [
        'location' => "{$told['base']}/soap/$service/1",
        'soap_version' => $told['soap'] === '1.2' ? SOAP_1_2 : SOAP_1_1,
        'exceptions' => true,
        'cache_wsdl' => WSDL_CACHE_NONE,
        'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
    ];
    if (isset($told['tls'])) {
        $options['stream_context'] = stream_context_create(['ssl' => [
            'local_cert' => $told['tls']['certificate'],
            'local_pk' => $told['tls']['key'],
            'peer_fingerprint' => ['sha256' => $told['tls']['fingerprint']],
            'verify_peer' => false,
            'verify_peer_name' => false,
        ]]);
    }
    $client = new Signed("{$told['wsdl']}/$service-1.wsdl", $options);
    $client->sign = isset($told['tls']) ? $told['sign'] : '';
    return $client;
}

function tell(string $name, callable $ask): void
{
    try {
        $said = ['call' => $name, 'answer' => $ask()];
    } catch (SoapFault $fault) {
        $detail = isset($fault->detail) ? get_object_vars($fault->detail) : [];
        $family = array_key_first($detail);
        $said = ['call' => $name, 'fault' => [
            'family' => $family,
            'code' => $family === null ? null : ($detail[$family]->code ?? $detail[$family]->enc_value->code ?? null),
            'text' => $fault->getMessage(),
        ]];
    }
    echo json_encode($said, JSON_THROW_ON_ERROR), "\n";
}

$storage = client('storage');
tell('stat', fn() => $storage->stat(['digest' => $told['digest']])->stat);
tell('getObject', fn() => bin2hex($storage->getObject(['digest' => $told['digest']])->content));
tell('putObject', fn() => $storage->putObject(['content' => file_get_contents($told['file'])])->fate);
tell('stat of nothing', fn() => $storage->stat(['digest' => $told['unknown']])->stat);

$catalog = client('catalog');
tell('queryMappings', fn() => $catalog->queryMappings(['instance' => $told['instance']])->mapping);
tell('queryMappings of nothing', fn() => $catalog->queryMappings(['instance' => '1.2.3.4'])->mapping);

$federation = client('federation');
tell('members', fn() => $federation->members()->member);
tell('metadata of nobody', fn() => $federation->metadata(['site' => 'nowhere'])->metadata);

$recovery = client('recovery');
tell('status', fn() => $recovery->status()->status);
tell('verifyReplicas', fn() => $recovery->verifyReplicas(['digest' => [$told['digest']]])->mapping);
tell('repairReplica', fn() => $recovery->repairReplica(['digest' => [$told['digest']]])->digest);
tell('verifyReplicas of no digest', fn() => $recovery->verifyReplicas(['digest' => ['no digest']])->mapping);
