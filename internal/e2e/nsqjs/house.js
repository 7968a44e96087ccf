// What the scenarios need of the daemons that nsqjs_test.go has started, and
// nsqjs's readers and writers as something to await.
'use strict';

const fs = require('node:fs');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const nsq = require('nsqjs');

if (!process.env.MILLRACE_HOUSE) {
  throw new Error('MILLRACE_HOUSE does not say where the daemons are: go test starts these scenarios');
}
// { open, second, strict: { tcp, http }, lookupd, ca, cert, key }
const house = JSON.parse(process.env.MILLRACE_HOUSE);

// Options for each way to be connected that nsqjs offers.
const tls = { tls: true, ca: fs.readFileSync(house.ca) };
const ways = {
  plain: {},
  snappy: { snappy: true },
  deflate: { deflate: true, deflateLevel: 3 },
  tls,
  'tls and snappy': { ...tls, snappy: true },
  'tls and deflate': { ...tls, deflate: true },
};
const certified = { ...tls, cert: fs.readFileSync(house.cert), key: fs.readFileSync(house.key) };

// writer returns a connected writer, closed when the test t ends.
async function writer(t, options = {}, daemon = house.open) {
  const [host, port] = daemon.tcp.split(':');
  const w = new nsq.Writer(host, Number(port), options);
  w.connect();
  t.after(() => close(w));
  w.on('error', () => {}); // told to callbacks as well, and some errors twice
  await once(w, 'ready'); // rejects on 'error'
  return {
    closed: new Promise((resolve) => w.once('closed', resolve)),
    publish: (topic, messages) => answered((done) => w.publish(topic, messages, done)),
    defer: (topic, message, ms) => answered((done) => w.deferPublish(topic, [message], ms, done)),
  };
}

const answered = (ask) =>
  new Promise((resolve, reject) => ask((err) => (err ? reject(err) : resolve())));

// reader returns a connected reader, which finds its daemons through lookupd
// and is closed when the test t ends. Messages are handed out by next; those
// beyond maxInFlight, of 50 unless the options say else, stay with the daemon.
async function reader(t, topic, channel, options = {}) {
  const r = new nsq.Reader(topic, channel, {
    lookupdHTTPAddresses: [house.lookupd],
    lookupdPollInterval: 1,
    maxInFlight: 50,
    ...options,
  });
  const came = [];
  const wanted = [];
  const give = (settle) => (value) => {
    const waiting = wanted.shift();
    if (waiting) waiting[settle](value);
    else came.push([settle, value]);
  };
  r.on('message', give('resolve'));
  r.on('error', give('reject'));
  const next = () =>
    new Promise((resolve, reject) => {
      const first = came.shift();
      if (!first) wanted.push({ resolve, reject });
      else if (first[0] === 'resolve') resolve(first[1]);
      else reject(first[1]);
    });
  t.after(() => close(r));
  r.connect();
  return { next, waiting: () => came.length, nsq: r };
}

// Closing what was never connected, or is closed, throws in nsqjs.
function close(connected) {
  try {
    connected.close();
  } catch (err) {
    if (!(err instanceof TypeError)) throw err;
  }
}

// prepare creates a topic and its channel, so that lookupd has them.
async function prepare(topic, channel, daemon = house.open) {
  for (const path of [`topic/create?topic=${topic}`, `channel/create?topic=${topic}&channel=${channel}`]) {
    const r = await fetch(`http://${daemon.http}/${path}`, { method: 'POST' });
    if (r.status !== 200) throw new Error(`POST ${path}: ${r.status}`);
  }
  await until(async () => (await fetch(`http://${house.lookupd}/lookup?topic=${topic}`)).status === 200);
}

// channelStats is what /stats says of a channel.
async function channelStats(topic, channel, daemon = house.open) {
  const r = await fetch(`http://${daemon.http}/stats?format=json&topic=${topic}&channel=${channel}`);
  const { topics } = await r.json();
  return topics[0]?.channels[0];
}

// until asks again and again, which is all that one can do with another process;
// a test that waits too long is ended by its time limit.
async function until(done) {
  for (let answer = await done(); ; answer = await done()) {
    if (answer) return answer;
    await sleep(20);
  }
}

module.exports = { house, ways, certified, writer, reader, prepare, channelStats, until, sleep };
