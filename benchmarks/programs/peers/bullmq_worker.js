// A BullMQ worker.
'use strict';
const { need, env, connection, mark, firstToGetHere, sleep } = require('./common.js');
const { Worker } = need('bullmq');

async function fulfil() {
  mark();
  if (env.BENCH_KIND === 'wait') await sleep(10);
  if (env.BENCH_KIND === 'stick' && firstToGetHere()) await sleep(3600000);
}

const worker = new Worker('orders', fulfil, {
  connection,
  concurrency: Number(env.BENCH_AT_ONCE),
  removeOnComplete: { count: 0 },
});
worker.on('error', (error) => console.error(error));
