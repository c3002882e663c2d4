// An example receiver for Node.js, with nothing but its http module:
//
//     WEBHOOK_SECRET=whsec_... PORT=8080 node examples/receivers/node_http.js
//
// It prints its address, and then one JSON line for each request. PORT=0, the default, takes a free
// port.
'use strict';

const crypto = require('node:crypto');
const http = require('node:http');

const processed = new Set();

function handle(req, res) {
    // Verify signature
    const signature = req.headers['x-webhook-signature'];
    const payload = JSON.stringify(req.body.data) ?? '';

    const expectedSig = crypto
        .createHmac('sha256', process.env.WEBHOOK_SECRET)
        .update(payload)
        .digest('hex');

    if (signature !== expectedSig) {
        report(req, 401);
        return answer(res, 401, { error: 'Invalid' });
    }

    // Respond immediately
    answer(res, 200, { received: true });
    report(req, 200);

    // An event may come twice: its id says so.
    if (!processed.has(req.body.id)) {
        processed.add(req.body.id);
        // The work that the event asks for begins here.
    }
}

function answer(res, status, body) {
    res.writeHead(status, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify(body));
}

function report(req, status) {
    const { id, eventType, attempt, data } = req.body;
    console.log(JSON.stringify({ status, webhook: req.headers['x-webhook-id'], id, eventType, attempt, data }));
}

const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
        try {
            req.body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
        } catch {
            req.body = null;
        }
        if (req.body === null || typeof req.body !== 'object') {
            // Anybody may send anything here.
            return answer(res, 400, { error: 'Not a JSON object' });
        }
        handle(req, res);
    });
});

if (!process.env.WEBHOOK_SECRET) {
    console.error('set WEBHOOK_SECRET to the secret that creating the webhook answered with');
    process.exit(2);
}
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
    console.log(JSON.stringify({ listening: `http://127.0.0.1:${server.address().port}/` }));
});
