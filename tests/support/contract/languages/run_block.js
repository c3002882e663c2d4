// Runs a block of the documents that verifies deliveries, on a genuine and on a forged one. Argument: a JSON object with `block`,
// `names` (the functions that it declares), `secret`, `headers`, `body`, `forged`. Prints a list of [genuine, forged] verdicts.
const { createRequire } = require('node:module');

const { block, names, packages, secret, headers, body, forged } = JSON.parse(process.argv[2]);
process.env.WEBHOOK_SECRET = secret;

const handlers = [];
const app = { post: (path, parse, handler) => handlers.push((text) => handler({ headers, body: parse(text) }, answer)) };
const express = { json: () => JSON.parse, raw: () => Buffer.from };
let status;
const answer = { status: (code) => ((status = code), answer), json: () => answer, end: () => answer, sendStatus: (code) => ((status = code), answer) };

const made = new Function('require', 'app', 'express', 'crypto', 'handleWebhookAsync', `{ ${block}\n; return { ${names.join(', ')} }; }`);
const functions = made(
    createRequire(packages),
    app,
    express,
    require('node:crypto'),
    async () => {},
);

const verdicts = handlers.map((handle) => [body, forged].map((text) => {
    status = 200;
    handle(text);
    return status === 200;
}));
for (const check of Object.values(functions)) {
    const wantsParsed = /^function \w+\(body,/.test(check.toString());
    verdicts.push([body, forged].map((text) => wantsParsed
        ? check(JSON.parse(text), headers['x-webhook-signature'], secret)
        : check(Buffer.from(text), headers, secret)));
}
console.log(JSON.stringify(verdicts));
