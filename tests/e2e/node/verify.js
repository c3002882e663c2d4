// Reads lines {secret, headers, body} with the hex of a request's body, and answers each with whether two verifications accept it:
// `document`, of WEBHOOKS_GUIDE.md's receiver, and `standard`, of npm's standardwebhooks.
'use strict';

const crypto = require('node:crypto');
const { Webhook } = require('standardwebhooks');

function document(secret, headers, raw) {
    const body = JSON.parse(raw);
    const expected = crypto.createHmac('sha256', secret).update(JSON.stringify(body.data)).digest('hex');
    return headers['x-webhook-signature'] === expected;
}

function standard(secret, headers, raw) {
    try {
        return new Webhook(secret).verify(raw, headers) !== undefined;
    } catch (error) {
        return String(error);
    }
}

require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { secret, headers, body } = JSON.parse(line);
    const raw = Buffer.from(body, 'hex').toString('utf8');
    process.stdout.write(JSON.stringify({ document: document(secret, headers, raw), standard: standard(secret, headers, raw) }) + '\n');
});
