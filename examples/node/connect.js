// The client of retryd, as the environment says: RETRYD_ADDRESS, RETRYD_TLS_CA, RETRYD_TOKEN.
import { readFileSync } from 'node:fs';
import { credentials, Metadata } from '@grpc/grpc-js';
import services from './gen/retry/v1/retry_service.grpc-client.js';

// Calls are repeated by gRPC itself while the server is away: a report that came twice has one
// effect, and the first answer. Load is spread over all addresses of the name.
const serviceConfig = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [{
    name: [{ service: 'retry.v1.RetryService' }],
    retryPolicy: {
      maxAttempts: 5, initialBackoff: '0.1s', maxBackoff: '2s', backoffMultiplier: 2,
      retryableStatusCodes: ['UNAVAILABLE'],
    },
  }],
};

export function connect() {
  const { RETRYD_ADDRESS = '127.0.0.1:7600', RETRYD_TLS_CA, RETRYD_TOKEN } = process.env;
  let creds = credentials.createInsecure();
  if (RETRYD_TLS_CA) creds = credentials.createSsl(readFileSync(RETRYD_TLS_CA));
  if (RETRYD_TLS_CA && RETRYD_TOKEN) {
    creds = credentials.combineChannelCredentials(creds, credentials.createFromMetadataGenerator((_, done) => {
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${RETRYD_TOKEN}`);
      done(null, metadata);
    }));
  }
  return new services.RetryServiceClient(RETRYD_ADDRESS, creds, {
    'grpc.service_config': JSON.stringify(serviceConfig),
    // A server that vanished is noticed by pings; more often than every 15 s it refuses them.
    'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000,
  });
}
