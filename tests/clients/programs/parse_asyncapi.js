// Reads an AsyncAPI document as its official parser does. Arguments: where to look for packages, and the document. Prints what it
// complains of, and the names of the messages.
const { readFileSync } = require('node:fs');
const { Parser } = require('node:module').createRequire(process.argv[2])('@asyncapi/parser');

(async () => {
    const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[3], 'utf8'));
    const complaints = diagnostics.filter(({ severity }) => severity < 2).map(({ path, message }) => [path, message]);
    const messages = document === undefined ? [] : document.messages().all().map((message) => message.name());
    console.log(JSON.stringify({ complaints, messages }));
})();
