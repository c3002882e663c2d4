// What @hey-api/openapi-ts makes of the document. Arguments: the base URL and a token.
import { client } from './client/client.gen';
import { getItems, getWebhooksById, postItems, postWebhooks, putItemsById, putWebhooksById } from './client/sdk.gen';
import type { ItemView } from './client/types.gen';

declare const process: { argv: string[] };

function nextCursor(link: string | null): string | undefined {
    const next = /[?&]cursor=([^&>]+)[^>]*>; rel="next"/.exec(link ?? '');
    return next === null ? undefined : decodeURIComponent(next[1]);
}

async function main(): Promise<void> {
    const [, , baseUrl, token] = process.argv;
    client.setConfig({ baseUrl, auth: () => token });

    const made = await postWebhooks({
        throwOnError: true,
        body: {
            url: 'https://your-app.com/webhooks/inventory',
            events: ['low-stock-alert'],
            filters: { minStockThreshold: 5 },
        },
    });
    const webhook = made.data.webhook;
    const path = { id: webhook.id };
    const read = await getWebhooksById({ throwOnError: true, path });
    const put = await putWebhooksById({ throwOnError: true, path, body: read.data.webhook });
    const again = await putWebhooksById({ throwOnError: true, path, body: webhook });

    for (let number = 0; number < 5; number += 1) {
        const item = (await postItems({ throwOnError: true, body: { name: `Pump ${number}` } })).data;
        await putItemsById({ throwOnError: true, path: { id: item.id }, body: item });
    }
    const items: ItemView[] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined; ) {
        const page: { data: ItemView[]; response: Response } = await getItems({
            throwOnError: true,
            query: { cursor, limit: 2 },
        });
        items.push(...page.data);
        cursor = nextCursor(page.response.headers.get('Link'));
    }
    console.log(
        JSON.stringify({
            secret: webhook.secret,
            put: put.data.webhook,
            again: again.data.webhook,
            names: items.map((item) => item.name),
        }),
    );
}

void main();
