// Makes the attempts of a queue, until it is told to stop: node worker.js [QUEUE]
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import pb from './gen/retry/v1/subscribe.js';
import { connect } from './connect.js';

const queue = process.argv[2] ?? 'demo';
const retryd = connect();
const unfinished = new Set(); // lease tokens of attempts that are being made
const unsettled = new Map(); // outcomes without a result yet, by lease token: the next stream takes them too
let stream, stopping = false;

const send = (kind, message) => stream.write(pb.SubscribeRequest.create({ message: { oneofKind: kind, [kind]: message } }));

async function make(attempt) {
  console.log(`${attempt.taskId}: attempt ${attempt.attempt}, payload ${Buffer.from(attempt.payload)}`);
  const result = attempt.attempt < 3 // in place of the work itself
    ? { oneofKind: 'failure', failure: { cause: { oneofKind: 'timeout', timeout: {} } } }
    : { oneofKind: 'success', success: {} };
  const outcome = pb.Outcome.create({ leaseToken: attempt.leaseToken, result });
  unsettled.set(attempt.leaseToken, outcome);
  unfinished.delete(attempt.leaseToken);
  send('outcome', outcome);
}

async function subscribe() {
  stream = retryd.subscribe();
  send('open', pb.Open.create({ queues: [queue], maxInFlight: 8 }));
  for (const outcome of unsettled.values()) send('outcome', outcome);
  for await (const { message } of stream) {
    if (message.oneofKind === 'attempt') {
      unfinished.add(message.attempt.leaseToken);
      make(message.attempt);
    } else if (message.oneofKind === 'outcomeResult') {
      unsettled.delete(message.outcomeResult.leaseToken); // an error in it is final: the lease was lost, say
    } else if (message.oneofKind === 'drain') {
      stream.cancel(); // this server goes away; the tokens are good at the others
    }
  }
}

const extend = () => unfinished.size && send('extend', pb.Extend.create({ leaseTokens: [...unfinished] }));
setInterval(extend, 10_000).unref(); // the leases last 30 s

process.once('SIGTERM', async () => {
  stopping = true;
  send('flow', { maxInFlight: 0 });
  await sleep(1000); // what is on its way to us is made as well
  while (unfinished.size || unsettled.size) await sleep(100);
  stream.cancel();
});

while (!stopping) {
  await subscribe().catch((error) => {
    if (error.code !== status.UNAVAILABLE && error.code !== status.CANCELLED) throw error;
  });
  await sleep(stopping ? 0 : 1000 * Math.random());
}
retryd.close();
