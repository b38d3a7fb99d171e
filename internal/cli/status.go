package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// largeOffset is how far the clocks of server and store may be apart before it is
// worth a word: servers ahead by more ask the store for its time at each decision.
const largeOffset = 500 * time.Millisecond

// longOverdue is for how long an attempt may be due before it is worth a word: nobody works
// on its queue, or not enough do. The alert RetrydOverdue goes by the same.
const longOverdue = 5 * time.Minute

// muchOfQuota is from what part of a quota on that it is worth a word.
const muchOfQuota = 0.9

// serverStatus is what is known of a server.
type serverStatus struct {
	// Problems are told first, the worst first.
	Problems []string `json:"problems"`
	Address  string   `json:"address"`
	Serving  string   `json:"serving"`
	Version  string   `json:"version"`
	Store    struct {
		Kind              string `json:"kind"`
		Version           string `json:"version,omitempty"`
		Shards            int32  `json:"shards"`
		DurabilityAsked   string `json:"durabilityAsked"`
		DurabilityFound   string `json:"durabilityFound"`
		ReplicasAsked     int32  `json:"replicasAsked,omitempty"`
		ReplicasConnected int32  `json:"replicasConnected"`
	} `json:"store"`
	ClockOffset string `json:"clockOffset"`
	Namespace   string `json:"namespace"`
	// Queues is null where they cannot be seen.
	Queues []queueStatus `json:"queues"`
	// Quotas are those that the namespace has.
	Quotas []quotaStatus `json:"quotas,omitempty"`

	offset time.Duration
	queues []*retryv1.Queue
}

// queueStatus is how one queue is.
type queueStatus struct {
	Queue string `json:"queue"`
	Due   int64  `json:"due"`
	// OldestDueAge is for how long the first of them has been due.
	OldestDueAge string `json:"oldestDueAge,omitempty"`
	Leased       int64  `json:"leased"`
	Dead         int64  `json:"dead"`
	Paused       bool   `json:"paused"`
	Health       string `json:"health"`
}

// quotaStatus is how much of a quota is used.
type quotaStatus struct {
	Quota string `json:"quota"`
	Used  int64  `json:"used"`
	Limit int64  `json:"limit"`
}

func newStatusCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the server, its store and the queues are; what is wrong comes first",
		Long: `Shows what the server is, how safe its store keeps what is acknowledged, how far their clocks are
apart, and how the queues of the namespace are. What is wrong comes first, and then the exit code
is 1; a server that does not answer has exit code 5. A queue in which an attempt has been due for
more than 5 minutes is wrong: too few work on it, or nobody does. So is a quota of the namespace of
which nine tenths are used. Paused queues are told but are nothing wrong. Where the queues cannot be
seen, by the caller or by anybody, the rest is shown, and with -o json or yaml the queues are null.`,
		Example: `  retryd status
  retryd status -o json`,
		Args: takes(),
	}
	addConnectionFlags(cmd.Flags())
	addOutputFlag(cmd.Flags())
	cmd.RunE = e.run(func(ctx context.Context, s *session, _ []string) error {
		st, err := s.status(ctx)
		if err != nil {
			return err
		}
		if err := s.showValue(st, func() error { return s.statusPage(st) }); err != nil {
			return err
		}
		if n := len(st.Problems); n > 0 {
			return &coded{errors.New(several(n, "thing") + " to look at"), exitFailure}
		}
		return nil
	})
	return cmd
}

// status asks for all that is known.
func (s *session) status(ctx context.Context) (*serverStatus, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	info, err := c.ServerInfo(ctx)
	if err != nil {
		return nil, err
	}
	st := &serverStatus{Problems: []string{}, Address: s.address, Version: info.GetVersion(), Namespace: s.namespace}
	store := info.GetStore()
	st.Store.Kind, st.Store.Version, st.Store.Shards = store.GetKind(), store.GetVersion(), store.GetShards()
	st.Store.DurabilityAsked = durabilityName(store.GetDurabilityAsked(), "none")
	st.Store.DurabilityFound = durabilityName(store.GetDurabilityFound(), "unknown")
	st.Store.ReplicasAsked, st.Store.ReplicasConnected = store.GetReplicasAsked(), store.GetReplicasConnected()
	st.offset = info.GetClockOffset().AsDuration()
	st.ClockOffset = st.offset.String()

	health, err := healthpb.NewHealthClient(c.Conn()).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		st.Serving = "UNKNOWN"
		st.problem("the health service does not answer: %s", explain(ctx, err))
	} else if st.Serving = health.GetStatus().String(); health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		st.problem("the server is %s: its store cannot be used, or it is about to end; its log tells more", st.Serving)
	}
	st.judgeStore(store)

	st.queues, _, err = take(c.AllQueues(ctx, &retryv1.ListQueuesRequest{PageSize: pageSize(0)}), 0)
	if err != nil {
		st.problem("the queues cannot be seen: %s", firstLine(explain(ctx, err)))
		return st, nil
	}
	st.judgeQueues()
	// They come with each page, however small.
	page, err := c.Queues().ListQueues(ctx, &retryv1.ListQueuesRequest{PageSize: 1})
	if err != nil {
		st.problem("the use of quotas cannot be seen: %s", firstLine(explain(ctx, err)))
		return st, nil
	}
	st.judgeQuotas(page.GetQuotas())
	return st, nil
}

func (st *serverStatus) problem(format string, args ...any) {
	st.Problems = append(st.Problems, clean(fmt.Sprintf(format, args...), false))
}

// judgeStore says what is wrong with the store.
func (st *serverStatus) judgeStore(store *retryv1.StoreInfo) {
	asked, found := store.GetDurabilityAsked(), store.GetDurabilityFound()
	const unknown, memory = retryv1.Durability_DURABILITY_UNSPECIFIED, retryv1.Durability_DURABILITY_MEMORY
	switch {
	case store.GetKind() == "memory":
	case asked == retryv1.Durability_DURABILITY_REPLICATED && store.GetReplicasConnected() < max(1, store.GetReplicasAsked()):
		st.problem("%d replicas of Redis are connected, and %d must confirm: reports end with DURABILITY_NOT_REACHED",
			store.GetReplicasConnected(), max(1, store.GetReplicasAsked()))
	case found == unknown:
		st.problem("how safe Redis keeps what is acknowledged is not known: it has not been reached, or does not tell")
	case asked != unknown && found < asked:
		st.problem("Redis keeps what is acknowledged less safe (%s) than was asked for (%s)", st.Store.DurabilityFound, st.Store.DurabilityAsked)
	case found == memory && asked != memory:
		st.problem("Redis keeps what is acknowledged in memory only: it is lost when Redis ends")
	}
	if st.offset.Abs() > largeOffset {
		st.problem("the clocks of server and store are %s apart: see to the time service of both machines", span(st.offset.Abs()))
	}
}

// judgeQueues says which queues are not well.
func (st *serverStatus) judgeQueues() {
	st.Queues = make([]queueStatus, 0, len(st.queues))
	for _, q := range st.queues {
		health := healthCell(q)
		one := queueStatus{
			Queue: q.GetQueue(), Due: q.GetDue(), Leased: q.GetLeased(), Dead: q.GetDead(), Paused: q.GetPaused(), Health: health.text,
		}
		if q.GetOldestDueAge() != nil {
			one.OldestDueAge = q.GetOldestDueAge().AsDuration().String()
		}
		st.Queues = append(st.Queues, one)
		if age := q.GetOldestDueAge().AsDuration(); age > longOverdue && !q.GetPaused() {
			st.problem("queue %s: %s due, the oldest for %s, and %s: see whether its workers run, and retryd watch %s",
				q.GetQueue(), several(q.GetDue(), "attempt"), span(age), workedOn(q), q.GetQueue())
		}
		if health.style == bad {
			st.problem("queue %s: %s", q.GetQueue(), health.text)
		}
	}
}

// judgeQuotas says which quotas are nearly used up.
func (st *serverStatus) judgeQuotas(quotas []*retryv1.QuotaUse) {
	for _, q := range quotas {
		st.Quotas = append(st.Quotas, quotaStatus{Quota: q.GetQuota(), Used: q.GetUsed(), Limit: q.GetLimit()})
		if float64(q.GetUsed()) >= muchOfQuota*float64(q.GetLimit()) {
			st.problem("quota %s of namespace %s: %d of %d are used; beyond it calls end with QUOTA_EXCEEDED",
				q.GetQuota(), st.Namespace, q.GetUsed(), q.GetLimit())
		}
	}
}

// workedOn says what the leases tell of a queue's workers.
func workedOn(q *retryv1.Queue) string {
	if q.GetLeased() == 0 {
		return "nobody works on it"
	}
	return several(q.GetLeased(), "lease") + " out"
}

func durabilityName(d retryv1.Durability, none string) string {
	return strings.ToLower(orElse(enumName(d, "DURABILITY_"), none))
}

func (s *session) statusPage(st *serverStatus) error {
	f := new(facts)
	for i, p := range st.Problems {
		name := ""
		if i == 0 {
			name = "Look at"
		}
		f.add(name, styled(bad, p))
	}
	server := st.Address + ", " + orElse(st.Version, "unknown version")
	serving := styled(good, st.Serving)
	if st.Serving != healthpb.HealthCheckResponse_SERVING.String() {
		serving.style = bad
	}
	f.add("Health", serving)
	f.add("Server", text(server))
	f.add("Store", text(storeWords(st)))
	f.add("Durability", text(durabilityWords(st)))
	if st.Store.Kind != "memory" {
		f.add("Clock offset", text(span(st.offset)))
	}
	queues := "its queues cannot be seen"
	if st.Queues != nil {
		queues = several(len(st.Queues), "queue")
	}
	f.add("Namespace", text(st.Namespace+", "+queues))
	for i, q := range st.Quotas {
		name := ""
		if i == 0 {
			name = "Quotas"
		}
		used := text(fmt.Sprintf("%s: %d of %d", q.Quota, q.Used, q.Limit))
		if float64(q.Used) >= muchOfQuota*float64(q.Limit) {
			used.style = bad
		}
		f.add(name, used)
	}
	if err := s.facts(f); err != nil || len(st.queues) == 0 {
		return err
	}
	if err := s.say(""); err != nil {
		return err
	}
	t := newTable("queue", "due#", "oldest#", "leased#", "dead#", "paused", "health")
	for _, q := range st.queues {
		age, paused := "", ""
		if q.GetOldestDueAge() != nil {
			age = span(q.GetOldestDueAge().AsDuration())
		}
		if q.GetPaused() {
			paused = "yes"
		}
		t.add(text(q.GetQueue()), number(q.GetDue()), text(age), number(q.GetLeased()), number(q.GetDead()), styled(warning, paused), healthCell(q))
	}
	return s.table(t, "")
}

func storeWords(st *serverStatus) string {
	if st.Store.Kind == "memory" {
		return "in the server's own memory: nothing is kept when it ends"
	}
	out := "Redis " + orElse(st.Store.Version, "of unknown version")
	if st.Store.Kind != "redis" {
		out += ", " + st.Store.Kind
	}
	return fmt.Sprintf("%s, %s", out, several(int(st.Store.Shards), "shard"))
}

func durabilityWords(st *serverStatus) string {
	if st.Store.Kind == "memory" {
		return ""
	}
	out := fmt.Sprintf("%s (asked for: %s)", st.Store.DurabilityFound, st.Store.DurabilityAsked)
	if n := st.Store.ReplicasConnected; n > 0 {
		out += fmt.Sprintf(", %s connected", several(int(n), "replica"))
	}
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
