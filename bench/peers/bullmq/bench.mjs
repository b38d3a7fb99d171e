// The load process for BullMQ. It takes the same orders on its standard input and
// gives the same answers on its standard output as those written in Go; the
// packages work and system say what they mean.
import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';

const NAME = 'bench';
const REPORT_DELAY_MS = 60_000;
const FILL_DELAY_MS = 86_400_000;
const RETRY_DELAY_MS = 1000;
const TIMING_LEAD_MS = 2000;
const PRELOAD_DUE_MS = 1000;
const SETTLE_MS = 200;
const PRELOAD_CALLERS = 8;
const PRELOAD_BATCH = 500;
const WARM_UP = 1000;

const nowMS = () => performance.timeOrigin + performance.now();
const sleep = (ms) => new Promise((done) => setTimeout(done, Math.max(0, ms)));
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n');

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const nextLine = async () => (await lines.next()).value;

const job = JSON.parse(await nextLine());
const [host, port] = job.addr.redis.split(':');
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const queue = new Queue(NAME, {
  connection,
  // Ended jobs go at once: BullMQ is spared to keep what the others need not keep.
  defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 2, backoff: { type: 'fixed', delay: RETRY_DELAY_MS } },
});
let next = job.first;

// task makes the next task, due in some time or, with none, at once.
function task(delayMS) {
  const index = next++;
  const due = delayMS ? nowMS() + delayMS : 0;
  const dueNS = String(BigInt(Math.round(due * 1000)) * 1000n).padStart(19, '0');
  const head = `${String(index).padStart(10, '0')} ${dueNS} `;
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  const text = head + letters.repeat(Math.ceil(job.payload / letters.length)).slice(0, Math.max(0, job.payload - head.length));
  const opts = { jobId: `order-${String(index).padStart(10, '0')}` };
  if (delayMS) opts.delay = Math.max(1, Math.ceil(delayMS));
  return { name: NAME, data: text, opts };
}

async function put(size, delayMS) {
  if (size === 1) {
    const t = task(delayMS());
    await queue.add(t.name, t.data, t.opts);
    return;
  }
  await queue.addBulk(Array.from({ length: size }, () => task(delayMS())));
}

// putAll has callers put n tasks, batch at a call.
async function putAll(n, callers, batch, delayMS) {
  let taken = 0;
  const call = async () => {
    while (taken < n) {
      const size = Math.min(batch, n - taken);
      taken += size;
      await put(size, delayMS);
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
}

const inMS = (ms) => () => ms;

// consume hands out until all are settled or the limit is reached.
async function consume(handle, begin) {
  let settled = 0;
  let finish;
  const finished = new Promise((done) => { finish = done; });
  const worker = new Worker(NAME, async (j) => {
    if (handle(j)) throw new Error('503 Service Unavailable');
  }, { connection, concurrency: job.in_flight });
  worker.on('completed', () => { if (++settled === job.tasks) finish(false); });
  worker.on('error', () => {});
  const timer = job.limit_ns ? setTimeout(() => finish(true), job.limit_ns / 1e6) : undefined;
  await Promise.all([begin?.()]);
  const cut = await finished;
  clearTimeout(timer);
  const tasks = settled;
  const ended = nowMS();
  return { tasks, cut, ended, close: () => worker.close(true) };
}

function lateness(late) {
  late.sort((a, b) => a - b);
  const n = late.length;
  return {
    min_ms: late[0], p50_ms: late[Math.floor(n / 2)], p99_ms: late[Math.floor((n * 99) / 100)], max_ms: late[n - 1],
    early: late.filter((ms) => ms < 0).length,
  };
}

const kinds = {
  report: {
    prepare: async () => { if (!job.tasks) await putAll(WARM_UP, job.callers, job.batch, inMS(REPORT_DELAY_MS)); },
    run: async () => {
      if (job.tasks) {
        await putAll(job.tasks, job.callers, job.batch, inMS(REPORT_DELAY_MS));
        return { tasks: job.tasks };
      }
      const end = nowMS() + job.time_ns / 1e6;
      let tasks = 0;
      const call = async () => {
        while (nowMS() < end) {
          await put(job.batch, inMS(REPORT_DELAY_MS));
          tasks += job.batch;
        }
      };
      await Promise.all(Array.from({ length: job.callers }, call));
      return { tasks };
    },
  },
  fill: {
    run: async () => {
      await putAll(job.tasks, PRELOAD_CALLERS, PRELOAD_BATCH, inMS(FILL_DELAY_MS));
      return { tasks: job.tasks };
    },
  },
  drain: {
    prepare: async () => {
      const due = nowMS() + PRELOAD_DUE_MS;
      await putAll(job.tasks, PRELOAD_CALLERS, PRELOAD_BATCH, () => due - nowMS());
      await sleep(due - nowMS() + SETTLE_MS);
    },
    run: () => consume(() => false),
  },
  timing: {
    run: async () => {
      const late = [];
      const start = nowMS() + TIMING_LEAD_MS;
      const handle = (j) => {
        late.push(nowMS() - Number(BigInt(j.data.slice(11, 30)) / 1000n) / 1000);
        return false;
      };
      const res = await consume(handle, () => putAll(job.tasks, PRELOAD_CALLERS, PRELOAD_BATCH,
        () => start + (Math.random() * job.time_ns) / 1e6 - nowMS()));
      return { ...res, late: lateness(late) };
    },
  },
  loop: {
    run: () => consume((j) => j.attemptsMade === 0, () => putAll(job.tasks, PRELOAD_CALLERS, PRELOAD_BATCH, inMS(0))),
  },
};
kinds['handed-loop'] = kinds.loop;

async function main() {
  const kind = kinds[job.kind];
  if (!kind) throw new Error(`kind ${job.kind} is not for BullMQ`);
  await queue.waitUntilReady();
  await kind.prepare?.();
  say({ ready: true });
  await nextLine();
  const start = nowMS();
  const { tasks, cut = false, late, ended = nowMS(), close } = await kind.run();
  say({ result: { tasks, seconds: (ended - start) / 1000, cut, late } });
  await nextLine();
  await close?.();
}

try {
  await main();
} catch (err) {
  say({ error: String(err?.stack ?? err) });
}
process.exit(0);
