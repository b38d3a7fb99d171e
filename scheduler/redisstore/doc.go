// Package redisstore is the store on Redis: one Redis, Sentinel or Cluster, and
// any number of replicas of the service over it.
//
// It owns everything that is kept in Redis: the names of the keys (keys.go), the
// form of a task's record (record.go), and the scripts (lua/). No other package
// may talk to Redis. It must import nothing of this module but scheduler and
// policy.
//
// A transition is decided by the engine and written by one script, which checks
// that the task is still as the engine believed, and then writes the record and
// every index that it is in. Scripts keep to a few rules, because Redis does not
// take back what a script wrote before it failed:
//
//   - they check everything and write then; keys that they learn from data, such
//     as the tasks of a claim, are all read before the first write, because on a
//     Cluster a key of a slot that is moving away raises an error when touched;
//   - they ask for the time once;
//   - they look at 100 items at most, and at nothing whose cost grows with what is
//     kept;
//   - those that create tasks are refused when Redis is full, and all others are
//     not, so that a full Redis can be drained.
package redisstore
