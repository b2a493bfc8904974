// What the Node programs share: the environment's words, and marks as in programs/marks.py.
'use strict';
const fs = require('fs');
const { createRequire } = require('module');

const env = process.env;
// The packages are in the peer's own folder, not beside this file.
const need = createRequire(env.BENCH_NODE_MODULES + '/');
const connection = { host: '127.0.0.1', port: Number(env.BENCH_REDIS_PORT), maxRetriesPerRequest: null };
const every = Number(env.BENCH_EVERY);
const file = fs.openSync(env.BENCH_MARKS, 'a', 0o600);
let number = 0;

function mark() {
  number += 1;
  if (number % every === 0) fs.writeSync(file, `${number} ${process.hrtime.bigint()}\n`);
}

const arrived = [];

function arrive(orderId) {
  arrived.push(`${Number(orderId.slice(2))} ${process.hrtime.bigint()}\n`);
  if (arrived.length === 1 || arrived.length === Number(env.BENCH_MANY)) fs.writeSync(file, arrived.join(''));
}

function firstToGetHere() {
  try {
    fs.closeSync(fs.openSync(env.BENCH_MARKS + '.first', 'wx'));
    return true;
  } catch {
    return false;
  }
}

function order(number) {
  return JSON.parse(env.BENCH_ORDER.replace('%08d', String(number).padStart(8, '0')));
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
module.exports = { need, env, connection, mark, arrive, firstToGetHere, order, sleep };
