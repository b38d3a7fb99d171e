// Reports that the first attempt at something failed: node reporter.js ID [QUEUE [POLICY]]
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import report from './gen/retry/v1/report.js';
import timestamp from './gen/google/protobuf/timestamp.js';
import { connect } from './connect.js';

const [id, queue = 'demo', policy = 'quick'] = process.argv.slice(2);
if (!id) {
  console.error('usage: node reporter.js ID [QUEUE [POLICY]]');
  process.exit(2);
}
const retryd = connect();
const reportFailure = promisify(retryd.reportFailure).bind(retryd);
try {
  const { taskId, decision } = await reportFailure(report.ReportFailureRequest.create({
    task: { id, queue, policy, payload: Buffer.from('{"to": "Ada"}') },
    failure: { cause: { oneofKind: 'http', http: { status: 503 } } },
    // The same for each try of this report, whoever makes it: it counts once.
    idempotencyKey: `${id}/1`,
  }), { deadline: Date.now() + 5000 });
  if (decision.nextAttemptTime) {
    console.log(`${taskId}: attempt ${decision.nextAttempt} at ${timestamp.Timestamp.toDate(decision.nextAttemptTime).toISOString()}`);
  }
  for (const line of decision.explanation) console.log(' ', line);
} catch (error) {
  // What is wrong with a request stays wrong; anything else may be sent again later.
  console.error(`${status[error.code]}: ${error.details}`);
  process.exitCode = 1;
} finally {
  retryd.close();
}
