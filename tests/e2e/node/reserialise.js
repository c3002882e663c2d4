// Reads lines {text, member} with the hex of a JSON text; answers each with the hex of what JSON.stringify makes of what JSON.parse read.
'use strict';

require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    let answer;
    try {
        const { text, member } = JSON.parse(line);
        const value = JSON.parse(Buffer.from(text, 'hex').toString('utf8'));
        answer = { text: Buffer.from(JSON.stringify(member === null ? value : value[member])).toString('hex') };
    } catch (error) {
        answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
});
