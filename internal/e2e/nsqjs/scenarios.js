// What nsqjs, NSQ's client for Node.js, does with Millrace. Run by
// nsqjs_test.go, which has started the daemons.
'use strict';

const assert = require('node:assert/strict');
const { performance } = require('node:perf_hooks');
const { after, describe, it } = require('node:test');
const { house, ways, certified, writer, reader, prepare, channelStats, until, sleep } = require('./house.js');

// Most of a scenario is waiting, so many run at once.
describe('nsqjs', { concurrency: 12 }, () => {
  const scenario = (name, run) =>
    it(name, { timeout: 60_000 }, (t) => run(t, name.replace(/\W+/g, '_').slice(0, 64)));

  // What a scenario that failed has left open must not keep the process.
  after(() => setTimeout(() => process.exit(1), 5000).unref());

  for (const [way, options] of Object.entries(ways)) {
    scenario(`${way}: publishes in every way it knows`, async (t, topic) => {
      await prepare(topic, 'all');
      const w = await writer(t, options);
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const large = Buffer.alloc(200_000, 'compressible? ');
      const list = Array.from({ length: 500 }, (_, i) => `message ${i} of a batch`);
      await w.publish(topic, 'a string, naïve');
      await w.publish(topic, bytes);
      await w.publish(topic, { json: [1, 2] });
      await w.publish(topic, large);
      await w.publish(topic, list);
      await w.publish(topic, ['two', bytes]);

      const r = await reader(t, topic, 'all', options);
      const want = ['a string, naïve', bytes, '{"json":[1,2]}', large, ...list, 'two', bytes];
      for (const [i, body] of want.entries()) {
        const m = await r.next();
        assert.deepEqual(m.body, Buffer.from(body), `message ${i}`);
        assert.equal(m.attempts, 1);
        m.finish();
      }
      await drained(topic, 'all');
      const [client] = (await channelStats(topic, 'all')).clients;
      assert.equal(client.user_agent, 'nsqjs/0.13.0');
      for (const feature of ['tls', 'snappy', 'deflate']) {
        assert.equal(client[feature], options[feature] ?? false, feature);
      }
    });

    scenario(`${way}: keeps up with many at once`, async (t, topic) => {
      const count = 5000;
      await prepare(topic, 'all');
      const w = await writer(t, options);
      const r = await reader(t, topic, 'all', { ...options, maxInFlight: 200 });
      const publishing = Array.from({ length: count }, (_, i) => w.publish(topic, `${i} ${'x'.repeat(i % 300)}`));
      for (let i = 0; i < count; i++) {
        const m = await r.next();
        assert.equal(m.body.toString(), `${i} ${'x'.repeat(i % 300)}`);
        m.finish();
      }
      await Promise.all(publishing);
      await drained(topic, 'all');
    });

    scenario(`${way}: defers, requeues and touches`, async (t, topic) => {
      await prepare(topic, 'all');
      const w = await writer(t, options);
      const r = await reader(t, topic, 'all', { ...options, messageTimeout: 2000 });
      let began = performance.now();
      await w.defer(topic, 'later', 500);
      let m = await r.next();
      assert.deepEqual([m.body.toString(), m.attempts], ['later', 1]);
      assert.ok(performance.now() - began >= 500);
      m.finish();

      await w.publish(topic, 'again');
      m = await r.next();
      began = performance.now();
      m.requeue(200, false);
      m = await r.next();
      assert.deepEqual([m.body.toString(), m.attempts], ['again', 2]);
      assert.ok(performance.now() - began >= 200);
      for (let i = 0; i < 12; i++) { // for longer than the message's timeout
        m.touch();
        await sleep(250);
      }
      assert.equal(r.waiting(), 0);
      m.finish();
      await drained(topic, 'all');
      assert.equal((await channelStats(topic, 'all')).timeout_count, 0);
    });
  }

  scenario('a message that is not answered comes again', async (t, topic) => {
    await prepare(topic, 'all');
    const w = await writer(t);
    const r = await reader(t, topic, 'all', { messageTimeout: 1000 });
    await w.publish(topic, 'forgotten');
    const first = await r.next();
    const second = await r.next();
    assert.deepEqual([second.id, second.attempts], [first.id, 2]);
    second.finish();
    await drained(topic, 'all');
  });

  scenario('a reader that backs off goes on afterwards', async (t, topic) => {
    const count = 100;
    await prepare(topic, 'all');
    const w = await writer(t);
    const r = await reader(t, topic, 'all', { maxInFlight: 5, maxBackoffDuration: 4 });
    await w.publish(topic, Array.from({ length: count }, (_, i) => `${i}`));
    const finished = new Set();
    for (let refused = 0; finished.size < count; ) {
      const m = await r.next();
      if (refused < 3 && m.attempts === 1) {
        refused++;
        m.requeue(0); // with a backoff: RDY 0 for a while, then 1
        continue;
      }
      finished.add(m.body.toString());
      m.finish();
    }
    await drained(topic, 'all');
    assert.equal((await channelStats(topic, 'all')).requeue_count, 3);
  });

  scenario('what has been tried too often is discarded', async (t, topic) => {
    await prepare(topic, 'all');
    const w = await writer(t);
    const r = await reader(t, topic, 'all', { maxAttempts: 2 });
    const discarded = new Promise((resolve) => r.nsq.once('discard', resolve));
    await w.publish(topic, 'hopeless');
    for (const attempt of [1, 2]) {
      const m = await r.next();
      assert.equal(m.attempts, attempt);
      m.requeue(0, false);
    }
    const m = await discarded;
    assert.deepEqual([m.body.toString(), m.attempts], ['hopeless', 3]);
    await drained(topic, 'all'); // nsqjs finishes it
  });

  scenario('a paused reader gets nothing until it goes on', async (t, topic) => {
    await prepare(topic, 'all');
    const w = await writer(t);
    const r = await reader(t, topic, 'all');
    await w.publish(topic, 'first');
    (await r.next()).finish();
    r.nsq.pause();
    await until(async () => (await channelStats(topic, 'all')).clients[0].ready_count === 0);
    await w.publish(topic, 'second');
    await until(async () => (await channelStats(topic, 'all')).depth === 1);
    assert.equal(r.waiting(), 0);
    r.nsq.unpause();
    const m = await r.next();
    assert.equal(m.body.toString(), 'second');
    m.finish();
    await drained(topic, 'all');
  });

  scenario('heartbeats keep an idle connection', async (t, topic) => {
    await prepare(topic, 'all');
    const options = { heartbeatInterval: 1, outputBufferSize: -1, outputBufferTimeout: -1 };
    const w = await writer(t, options);
    const r = await reader(t, topic, 'all', options);
    let closed = 0;
    r.nsq.on('nsqd_closed', () => closed++);
    await sleep(3500); // qd closes a connection that was silent for two intervals
    await w.publish(topic, 'still here');
    (await r.next()).finish();
    await drained(topic, 'all');
    assert.equal(closed, 0);
  });

  scenario('a reader finds every daemon that has the topic', async (t, topic) => {
    const want = new Set();
    for (const [name, daemon] of Object.entries({ open: house.open, second: house.second })) {
      await prepare(topic, 'all', daemon);
      const w = await writer(t, {}, daemon);
      const list = Array.from({ length: 100 }, (_, i) => `${name} ${i}`);
      await w.publish(topic, list);
      for (const body of list) want.add(body);
    }
    const r = await reader(t, topic, 'all', { maxInFlight: 10 });
    while (want.size > 0) {
      const m = await r.next();
      assert.ok(want.delete(m.body.toString()), `${m.body} came twice`);
      m.finish();
    }
    for (const daemon of [house.open, house.second]) await drained(topic, 'all', daemon);
  });

  scenario('a reader that was there first finds the topic later', async (t, topic) => {
    const r = await reader(t, topic, 'all'); // asks lookupd once a second
    const w = await writer(t);
    await sleep(100); // so that lookupd was asked in vain
    await w.publish(topic, 'at last');
    const m = await r.next();
    assert.equal(m.body.toString(), 'at last');
    m.finish();
    await drained(topic, 'all');
  });

  scenario('the consumers of a channel share it, every channel gets all', async (t, topic) => {
    const count = 400;
    await prepare(topic, 'copy');
    await prepare(topic, 'shared');
    const w = await writer(t);
    const [copy, one, other] = [
      await reader(t, topic, 'copy'),
      await reader(t, topic, 'shared', { maxInFlight: 1 }),
      await reader(t, topic, 'shared', { maxInFlight: 1 }),
    ];
    await until(async () => (await channelStats(topic, 'shared')).clients.length === 2);
    await w.publish(topic, Array.from({ length: count }, (_, i) => `${i}`));
    const shared = [];
    const took = [0, 0];
    const take = async (who) => [who, await [one, other][who].next()];
    const next = [take(0), take(1)];
    while (shared.length < count) {
      const [who, m] = await Promise.race(next);
      next[who] = take(who);
      took[who]++;
      shared.push(Number(m.body));
      m.finish();
    }
    assert.deepEqual(shared.sort((a, b) => a - b), Array.from({ length: count }, (_, i) => i));
    assert.ok(Math.min(...took) > 0, `the consumers took ${took}`);
    for (let i = 0; i < count; i++) {
      const m = await copy.next();
      assert.equal(m.body.toString(), `${i}`);
      m.finish();
    }
    await drained(topic, 'copy');
  });

  scenario('a refused publish says why and ends the connection', async (t, topic) => {
    for (const [bad, message, code] of [
      ['no/slash', 'a', /E_BAD_TOPIC PUB topic name "no\/slash" is not valid/],
      [topic, Buffer.alloc(2 << 20), /E_BAD_MESSAGE PUB message too big 2097152 > 1048576/],
    ]) {
      const w = await writer(t);
      await assert.rejects(w.publish(bad, message), code);
      await w.closed;
    }
    await (await writer(t)).publish(topic, 'another connection may');
  });

  scenario('a sampled channel gives about as much as was asked for', async (t, topic) => {
    const count = 4000;
    await prepare(topic, 'some');
    const w = await writer(t);
    const r = await reader(t, topic, 'some', { sampleRate: 25 });
    let came = 0;
    r.nsq.on('message', (m) => {
      came++;
      m.finish();
    });
    await until(async () => (await channelStats(topic, 'some')).clients[0]?.sample_rate === 25);
    await w.publish(topic, Array.from({ length: count }, (_, i) => `${i}`));
    await drained(topic, 'some');
    assert.ok(Math.abs(came - count / 4) < 200, `${came} of ${count} came`); // seven standard deviations
  });

  scenario('a certificate that nobody vouches for is refused', async (t) => {
    await assert.rejects(writer(t, { tls: true }), /self-signed|unable to (get|verify)/);
    await writer(t, { tls: true, tlsVerification: false });
  });

  scenario('strict: with a certificate and a secret one publishes and consumes', async (t, topic) => {
    await prepare(topic, 'all', house.strict);
    for (const way of [{}, { snappy: true }, { deflate: true }]) {
      const options = { ...certified, ...way, authSecret: 'open sesame' };
      const w = await writer(t, options, house.strict);
      await w.publish(topic, ['a', 'b']);
      const r = await reader(t, topic, 'all', options);
      for (const body of ['a', 'b']) {
        const m = await r.next();
        assert.equal(m.body.toString(), body);
        m.finish();
      }
      await drained(topic, 'all', house.strict);
      const [client] = (await channelStats(topic, 'all', house.strict)).clients;
      assert.deepEqual([client.tls, client.authed, client.auth_identity], [true, true, 'Ali Baba']);
      r.nsq.close();
      await until(async () => (await channelStats(topic, 'all', house.strict)).clients.length === 0);
    }
  });

  scenario('strict: whoever may not is told why', async (t, topic) => {
    const refused = async (options, where, why) =>
      assert.rejects(writer(t, options, house.strict).then((w) => w.publish(where, 'a')), why);
    await refused({}, topic, /E_INVALID cannot PUB in current state \(TLS required\)/);
    await refused(ways.tls, topic, /certificate required|alert|ECONNRESET|closed/);
    await refused(certified, topic, /E_AUTH_FIRST AUTH required before PUB/);
    await refused({ ...certified, authSecret: 'open wheat' }, topic, /E_UNAUTHORIZED AUTH no authorizations found/);
    await refused({ ...certified, authSecret: 'break' }, topic, /E_AUTH_FAILED AUTH failed/);
    await refused({ ...certified, authSecret: 'open sesame' }, 'cave', /E_UNAUTHORIZED AUTH failed for PUB on "cave" ""/);
    await prepare('cave', 'all', house.strict);
    const r = await reader(t, 'cave', 'all', { ...certified, authSecret: 'open sesame' });
    await assert.rejects(r.next(), /E_UNAUTHORIZED AUTH failed for SUB on "cave" "all"/);
  });

  const drained = (topic, channel, daemon) =>
    until(async () => {
      const c = await channelStats(topic, channel, daemon);
      return c && c.depth + c.in_flight_count + c.deferred_count === 0;
    });
});
