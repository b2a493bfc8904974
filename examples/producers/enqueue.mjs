// npm install redis && node enqueue.mjs
import { createClient } from "redis";

const order = {
  order_id: "A-1003",
  items: [{ sku: "TEA-SENCHA", quantity: 2 }],
  ship_to: "221B Baker Street, London",
  enqueued_at: new Date().toISOString(),
};
const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0" });
await client.connect();
await client.lPush("orders", JSON.stringify(order));
await client.close();
