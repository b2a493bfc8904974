// A BullMQ worker.
'use strict';
const { need, env, connection, mark, arrive, firstToGetHere, sleep } = require('./common.js');
const { Worker } = need('bullmq');

const tellsEach = env.BENCH_KIND.startsWith('arrived');
const waits = env.BENCH_KIND.endsWith('wait');

async function fulfil(job) {
  if (tellsEach) arrive(job.data.order_id);
  else mark();
  if (waits) await sleep(10);
  if (env.BENCH_KIND === 'stick' && firstToGetHere()) await sleep(3600000);
}

const worker = new Worker('orders', fulfil, {
  connection,
  concurrency: Number(env.BENCH_AT_ONCE),
  removeOnComplete: { count: 0 },
});
worker.on('error', (error) => console.error(error));
