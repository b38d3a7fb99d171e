package tracing

import "context"

// QueueSize is how many spans may wait.
const QueueSize = queueSize

// Flush exports what waits.
func (t *Tracing) Flush(ctx context.Context) error { return t.provider.ForceFlush(ctx) }
