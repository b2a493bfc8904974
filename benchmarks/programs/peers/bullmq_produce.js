// Enqueues orders in BullMQ: `bulk`, `singly` or `paced` as in programs/produce.py.
'use strict';
const fs = require('fs');
const readline = require('readline');
const { need, env, connection, order, sleep } = require('./common.js');
const { Queue } = need('bullmq');

const many = Number(env.BENCH_MANY);
const queue = new Queue('orders', { connection });

async function bulk() {
  for (let start = 0; start < many; start += 1000) {
    const jobs = [];
    for (let n = start; n < Math.min(many, start + 1000); n += 1) jobs.push({ name: 'order', data: order(n) });
    await queue.addBulk(jobs);
  }
}

async function singly() {
  for (let number = 0; number < many; number += 1) {
    await sleep(100 + 100 * Math.random());
    const placed = process.hrtime.bigint();
    await queue.add('order', order(number));
    await started(number + 1);
    console.log(String(placed));
  }
}

async function paced() {
  await queue.waitUntilReady();
  const reader = readline.createInterface({ input: process.stdin });
  reader.on('line', (line) => queue.add('order', order(Number(line))));
  await new Promise((done) => reader.on('close', done));
}

async function started(wanted) {
  const ends = Date.now() + 30000;
  while (fs.readFileSync(env.BENCH_MARKS, 'latin1').split('\n').length - 1 < wanted) {
    if (Date.now() > ends) throw new Error(`order ${wanted} was not started within 30 s`);
    await sleep(2);
  }
}

const mode = { bulk, singly, paced }[process.argv[2]];
mode().then(() => queue.close());
