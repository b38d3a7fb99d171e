package redisstore

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/scheduler"
)

//go:embed lua/commit.lua
var commitLua string

//go:embed lua/claim.lua
var claimLua string

//go:embed lua/page.lua
var pageLua string

//go:embed lua/count_queue.lua
var countQueueLua string

//go:embed lua/pause.lua
var pauseLua string

//go:embed lua/forget_queue.lua
var forgetQueueLua string

//go:embed lua/forget_group.lua
var forgetGroupLua string

//go:embed lua/count_namespace.lua
var countNamespaceLua string

//go:embed lua/share_note.lua
var shareNoteLua string

//go:embed lua/confirm.lua
var confirmLua string

//go:embed lua/put.lua
var putLua string

//go:embed lua/audit_turn.lua
var auditTurnLua string

//go:embed lua/audit_mend.lua
var auditMendLua string

//go:embed lua/audit_queue.lua
var auditQueueLua string

//go:embed lua/audit_counts.lua
var auditCountsLua string

//go:embed lua/audit_print.lua
var auditPrintLua string

//go:embed lua/audit_group.lua
var auditGroupLua string

// script is a Lua script, known to Redis by the digest of its text.
type script struct {
	name, text, sha string
	// writes says that it may write.
	writes bool
}

// newScript makes a script of a body. The first line tells Redis 7 and later what
// the script may do: without allow-oom it is refused when memory is full, before
// it has begun; with no-writes it runs whenever a read does.
func newScript(name, flags, prelude, body string) *script {
	text := "#!lua"
	if flags != "" {
		text += " flags=" + flags
	}
	text += "\n" + prelude + body
	sum := sha1.Sum([]byte(text))
	return &script{name: name, text: text, sha: hex.EncodeToString(sum[:]), writes: flags != "no-writes"}
}

// scripts are all that there are.
type scripts struct {
	// create writes new tasks, change those that there are.
	create, change *script
	claim          *script
	// page reads tasks in the order of an index, browse places alone.
	page, browse             *script
	countQueue, pause        *script
	forgetQueue, forgetGroup *script
	// Those of quotas.
	countNamespace, shareNote *script
	// put writes policies and jobs.
	put *script
	// confirm tells tasks that replicas are to confirm.
	confirm *script
	// Those of the auditor.
	auditTurn, auditPage, auditMend, auditQueue, auditCounts, auditPrint, auditGroup *script
}

// newScripts makes the scripts; confirms says whether they write something also when
// there is nothing to write, for replicas to confirm.
func newScripts(confirms bool) scripts {
	prelude := fmt.Sprintf("local CONFIRMS = %t\n", confirms)
	return scripts{
		create:         newScript("create", "", prelude+"local MAY_CREATE = true\n", commitLua),
		change:         newScript("change", "allow-oom", prelude+"local MAY_CREATE = false\n", commitLua),
		claim:          newScript("claim", "allow-oom", prelude, claimLua),
		page:           newScript("page", "no-writes", "local WITH_RECORDS, HEAD = true, 0\n", pageLua),
		browse:         newScript("browse", "no-writes", "local WITH_RECORDS, HEAD = false, 0\n", pageLua),
		countQueue:     newScript("count_queue", "no-writes", "", countQueueLua),
		pause:          newScript("pause", "allow-oom", prelude, pauseLua),
		forgetQueue:    newScript("forget_queue", "allow-oom", "", forgetQueueLua),
		forgetGroup:    newScript("forget_group", "allow-oom", "", forgetGroupLua),
		countNamespace: newScript("count_namespace", "no-writes", "", countNamespaceLua),
		shareNote:      newScript("share_note", "allow-oom", "", shareNoteLua),
		put:            newScript("put", "allow-oom", "", putLua),
		confirm:        newScript("confirm", "allow-oom", "", confirmLua),
		auditTurn:      newScript("audit_turn", "allow-oom", "", auditTurnLua),
		auditPage:      newScript("audit_page", "no-writes", fmt.Sprintf("local WITH_RECORDS, HEAD = true, %d\n", auditHead), pageLua),
		auditMend:      newScript("audit_mend", "allow-oom", "", auditMendLua),
		auditQueue:     newScript("audit_queue", "allow-oom", "", auditQueueLua),
		auditCounts:    newScript("audit_counts", "allow-oom", "", auditCountsLua),
		auditPrint:     newScript("audit_print", "allow-oom", "", auditPrintLua),
		auditGroup:     newScript("audit_group", "allow-oom", "", auditGroupLua),
	}
}

func (s *scripts) all() []*script {
	return []*script{
		s.create, s.change, s.claim, s.page, s.browse, s.countQueue, s.pause, s.forgetQueue, s.forgetGroup, s.put, s.confirm,
		s.countNamespace, s.shareNote,
		s.auditTurn, s.auditPage, s.auditMend, s.auditQueue, s.auditCounts, s.auditPrint, s.auditGroup,
	}
}

// load gives the scripts to a new connection's server, so that the first calls
// find them there. A server that refuses the command, say by its access rules,
// is given each script with the first call that needs it.
func (s *scripts) load(ctx context.Context, conn *redis.Conn) error {
	pipe := conn.Pipeline()
	for _, sc := range s.all() {
		pipe.ScriptLoad(ctx, sc.text)
	}
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return fmt.Errorf("load the scripts: %w", err)
	}
	return nil
}

// call is one run of a script.
type call struct {
	script *script
	keys   []string
	args   []any
	// bytes is about how much it sends or is sent, and repeats how often it has been made
	// before and not been answered, of those that are made patiently.
	bytes, repeats int
	// reply and err are its outcome. Beside an err of KindUnconfirmed the reply stands.
	reply []any
	err   error
}

// run runs the calls, which all write or all read, in one pipeline and leaves each
// one's outcome in it. Where replicas confirm what is written, there is one pipeline
// for each server.
func (s *Store) run(ctx context.Context, calls ...*call) {
	if len(calls) == 0 || !calls[0].script.writes {
		s.runAt(ctx, s.client, calls, nil)
		return
	}
	if err := s.lessThanAsked(); err != nil {
		for _, c := range calls {
			c.err = unavailable(err)
		}
		return
	}
	if s.confirms() {
		s.runConfirmed(ctx, calls)
		return
	}
	s.runAt(ctx, s.client, calls, nil)
}

const (
	// nodePatience is how long a node of a Cluster may take to answer: many times what any
	// calls take that are sent together. Whoever made them looks at what came of them and
	// repeats them, perhaps at the node that is in the place of one that hangs.
	nodePatience = 250 * time.Millisecond
	// repeatPatience is how much longer it may for each time that they were not answered,
	// maxPatience the longest: where all is well and slow, it has to come in the end.
	repeatPatience = 25 * time.Millisecond
	maxPatience    = 2 * time.Second
	// maxPatiently is how many calls have one patience together, and maxPatientBytes about
	// how many bytes: of more, a node that is well would answer none in time, and none of
	// their repeats.
	maxPatiently    = 500
	maxPatientBytes = 4 << 20
)

// runPatiently is run for what is repeated when it was not answered. On a Cluster a
// node that hangs would hold up what is kept in the shards of all others: it is waited
// for only so long. The nodes have a pipeline each, since of one that runs out of time
// the client forgets also what has come.
func (s *Store) runPatiently(ctx context.Context, calls []*call) {
	if !s.cluster {
		s.run(ctx, calls...)
		return
	}
	s.atEachNode(ctx, calls, func(_ redis.UniversalClient, part []*call) {
		for len(part) > 0 {
			some, patience := s.patiently(part)
			part = part[len(some):]
			ctx, cancel := context.WithTimeout(ctx, patience)
			s.run(ctx, some...)
			late := ctx.Err() != nil
			cancel()
			if !late {
				continue
			}
			for _, c := range part {
				c.err = s.failure("script "+c.script.name, context.DeadlineExceeded)
			}
			return
		}
	})
}

// patiently is how many of the calls are made together, and how long their node may take.
func (s *Store) patiently(calls []*call) (some []*call, patience time.Duration) {
	n, bytes, repeats := 0, 0, 0
	for n < len(calls) && n < maxPatiently && (n == 0 || bytes+calls[n].bytes <= maxPatientBytes) {
		bytes += calls[n].bytes
		repeats = max(repeats, calls[n].repeats)
		n++
	}
	patience = min(nodePatience+time.Duration(repeats)*repeatPatience, maxPatience)
	if s.confirms() {
		patience += confirmTime
	}
	return calls[:n], patience
}

// runAt runs the calls in one pipeline to a server, or to whichever each belongs to.
// A script that the server has forgotten is sent again with its text, which a
// pipeline does not do by itself. When confirm is set, its replicas are to confirm
// what is written.
func (s *Store) runAt(ctx context.Context, client redis.UniversalClient, calls []*call, confirm *node) {
	if confirm != nil {
		if _, known := confirm.all.count(); !known {
			// It has to be known how many to wait for.
			if err := s.look(ctx, client, confirm); err != nil {
				for _, c := range calls {
					c.err = err
				}
				return
			}
		}
	}
	s.send(ctx, client, calls, confirm, func(sc *script) (command, name string) { return "evalsha", sc.sha })
	var unknown []*call
	for _, c := range calls {
		if c.err != nil && redis.HasErrorPrefix(c.err, "NOSCRIPT") {
			unknown = append(unknown, c)
		}
	}
	if len(unknown) > 0 {
		s.send(ctx, client, unknown, confirm, func(sc *script) (command, name string) { return "eval", sc.text })
	}
	for _, c := range calls {
		if c.err != nil && !scheduler.IsUnconfirmed(c.err) {
			c.err = s.failure("script "+c.script.name, c.err)
		}
	}
}

// runAll runs calls of which none is of use without the others, in pipelines of
// bounded length, and returns the first error there is.
func (s *Store) runAll(ctx context.Context, calls []*call) error {
	for part := range slices.Chunk(calls, maxPipelined) {
		s.run(ctx, part...)
		for _, c := range part {
			if c.err != nil {
				return c.err
			}
		}
	}
	return nil
}

// yes says whether the answer is 1 in a list.
func (c *call) yes() bool { return len(c.reply) == 1 && c.reply[0] == int64(1) }

// send sends the calls, and a WAIT behind them where they are to be confirmed.
func (s *Store) send(
	ctx context.Context, client redis.UniversalClient, calls []*call, confirm *node,
	how func(*script) (command, name string),
) {
	cmds := make([]*redis.Cmd, len(calls))
	for i, c := range calls {
		command, name := how(c.script)
		args := make([]any, 0, 3+len(c.keys)+len(c.args))
		args = append(args, command, name, strconv.Itoa(len(c.keys)))
		for i := range c.keys {
			if i == 0 {
				// By this one, which it reads as a string, a Cluster's client finds the node.
				args = append(args, c.keys[i])
				continue
			}
			// A pointer takes nothing from the heap.
			args = append(args, &c.keys[i])
		}
		cmds[i] = redis.NewCmd(ctx, append(args, c.args...)...)
	}
	if s.cfg.Observer != nil {
		defer s.ran(calls, time.Now())
	}
	var wait *waiting
	if len(cmds) == 1 && confirm == nil {
		_ = client.Process(ctx, cmds[0])
	} else {
		pipe := client.Pipeline()
		for _, cmd := range cmds {
			_ = pipe.Process(ctx, cmd)
		}
		if confirm != nil {
			wait = s.wait(ctx, confirm)
			_ = pipe.Process(ctx, wait.cmd)
			_ = pipe.Process(ctx, wait.info)
		}
		// Each command holds its own error.
		_, _ = pipe.Exec(ctx)
	}
	written := false
	for i, cmd := range cmds {
		calls[i].reply, calls[i].err = cmd.Slice()
		written = written || calls[i].err == nil
	}
	if confirm == nil || !written {
		return
	}
	if err := s.confirmed(ctx, confirm, wait); err != nil {
		for _, c := range calls {
			if c.err == nil {
				c.err = err
			}
		}
	}
}

// nowArg is the time for a script: 0, unless a test has a clock of its own.
func (s *Store) nowArg() string {
	if s.cfg.NowMS == nil {
		return "0"
	}
	return strconv.FormatInt(s.cfg.NowMS(), 10)
}
