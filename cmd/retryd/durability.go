package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/retryd/retryd/scheduler"
)

// durability are the flags of how safe Redis has to keep what is acknowledged.
type durability struct {
	level    string
	replicas int
}

func (d *durability) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&d.level, "durability", "", "how safe Redis has to keep what is acknowledged: memory, everysec, always or replicated; empty takes what Redis has")
	flags.IntVar(&d.replicas, "durability-replicas", 0, "how many replicas of Redis confirm at durability replicated; 0 means all that are connected, and one at the least")
}

// read returns the level and the number of replicas, or all that is wrong with the
// flags.
func (d *durability) read() (level scheduler.Durability, replicas int, err error) {
	level, ok := scheduler.ParseDurability(d.level)
	var errs []error
	if !ok && d.level != "" {
		errs = append(errs, fmt.Errorf("%s is %q: it must be memory, everysec, always or replicated, or empty", setting("durability"), d.level))
	}
	switch {
	case d.replicas < 0:
		errs = append(errs, fmt.Errorf("%s is \"%d\": it must be 0 or more", setting("durability-replicas"), d.replicas))
	case d.replicas > 0 && level != scheduler.DurabilityReplicated:
		errs = append(errs, fmt.Errorf("%s is \"%d\": replicas confirm something only with --durability=replicated", setting("durability-replicas"), d.replicas))
	}
	if err := errors.Join(errs...); err != nil {
		return scheduler.DurabilityUnknown, 0, err
	}
	return level, d.replicas, nil
}

// durabilityLog tells how safe Redis keeps what is acknowledged, at the start and
// whenever that changes.
type durabilityLog struct {
	log  *slog.Logger
	told bool
	last scheduler.StoreInfo
}

func (l *durabilityLog) tell(ctx context.Context, info scheduler.StoreInfo) {
	news := !l.told || info.Found != l.last.Found || info.Disk != l.last.Disk
	if !news && info.Replicas == l.last.Replicas {
		return
	}
	l.told, l.last = true, info
	args := []any{"found", info.Found.String(), "asked", askedOf(info), "replicas", info.Replicas}
	switch {
	case !news:
		l.log.InfoContext(ctx, "another number of redis's replicas is connected", args...)
	case info.Found == scheduler.DurabilityMemory && info.Asked != scheduler.DurabilityMemory:
		l.log.WarnContext(ctx, "REDIS KEEPS NOTHING ON DISK THAT IT PROMISES TO KEEP: what is acknowledged is lost when it ends. "+
			"Set appendonly yes and appendfsync everysec or always; or give --durability=memory, if that is meant", args...)
	case info.Found == scheduler.DurabilityReplicated && info.Disk == scheduler.DurabilityMemory:
		l.log.WarnContext(ctx, "redis and its replicas keep what is acknowledged in memory only: it is lost when they end at once. "+
			"Set appendonly yes and appendfsync everysec or always, at the replicas as well", args...)
	case info.Found == scheduler.DurabilityUnknown:
		l.log.WarnContext(ctx, "redis does not tell how safe it keeps what is acknowledged; make sure that it is as safe as you need", args...)
	default:
		l.log.InfoContext(ctx, "redis keeps what is acknowledged", args...)
	}
}

// askedOf is the level that was asked for.
func askedOf(info scheduler.StoreInfo) string {
	if info.Asked == scheduler.DurabilityUnknown {
		return "none"
	}
	return info.Asked.String()
}
