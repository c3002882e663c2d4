// What openapi-typescript makes of the document, used through openapi-fetch. Arguments: the base URL and a token.
import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

declare const process: { argv: string[] };
type Item = components['schemas']['ItemView'];

function must<T>(value: T | undefined, error: unknown): T {
    if (value === undefined) throw new Error(JSON.stringify(error));
    return value;
}

function nextCursor(link: string | null): string | undefined {
    const next = /[?&]cursor=([^&>]+)[^>]*>; rel="next"/.exec(link ?? '');
    return next === null ? undefined : decodeURIComponent(next[1]);
}

async function main(): Promise<void> {
    const [, , baseUrl, token] = process.argv;
    const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

    const made = await client.POST('/webhooks', {
        body: {
            url: 'https://your-app.com/webhooks/inventory',
            events: ['low-stock-alert'],
            filters: { minStockThreshold: 5 },
        },
    });
    const webhook = must(made.data, made.error).webhook;
    const path = { id: webhook.id };
    const read = await client.GET('/webhooks/{id}', { params: { path } });
    const put = await client.PUT('/webhooks/{id}', { params: { path }, body: must(read.data, read.error).webhook });
    const again = await client.PUT('/webhooks/{id}', { params: { path }, body: webhook });

    for (let number = 0; number < 5; number += 1) {
        const { data, error } = await client.POST('/items', { body: { name: `Pump ${number}` } });
        const item = must(data, error);
        must((await client.PUT('/items/{id}', { params: { path: { id: item.id } }, body: item })).data, 'refused');
    }
    const items: Item[] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined; ) {
        const page = await client.GET('/items', { params: { query: { cursor, limit: 2 } } });
        items.push(...must(page.data, page.error));
        cursor = nextCursor(page.response.headers.get('Link'));
    }
    console.log(
        JSON.stringify({
            secret: webhook.secret,
            put: must(put.data, put.error).webhook,
            again: must(again.data, again.error).webhook,
            names: items.map((item) => item.name),
        }),
    );
}

void main();
