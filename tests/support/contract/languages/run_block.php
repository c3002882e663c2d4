<?php
// Asks the functions of a PHP block of the documents about a genuine delivery and a forged one. Arguments: the block's file, and a JSON
// object with `secret`, `headers`, `body`, `forged`. Prints a list of [genuine, forged] verdicts.
require $argv[1];
$given = json_decode($argv[2], true);
$data = $standard = [];
foreach ([$given['body'], $given['forged']] as $body) {
    $data[] = verifyData($body, $given['headers']['x-webhook-signature'], $given['secret']);
    $standard[] = verifyStandard($body, $given['headers'], $given['secret']);
}
echo json_encode([$data, $standard]);
