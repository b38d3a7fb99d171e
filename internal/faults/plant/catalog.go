package main

// catalog lists the bugs that have lost or doubled somebody's work before, some of them
// planted in several places, in the order of the table.
func catalog() []*bug {
	const (
		store  = "./scheduler/redisstore"
		server = "./server"
		policy = "./policy"
	)
	return []*bug{
		{name: "sim-no-token-check", title: "the token of a report is not compared", checks: []check{
			simulated("I5"), {fault: "F3", finds: "I5"},
		}},
		{name: "counter-only-token", title: "a token is a counter alone", checks: []check{
			// What it finds need not be made small, nor kept.
			tested(store, "TestDifferential", "differential_test.go:", "-rapid.nofailfile", "-rapid.shrinktime=1ms"),
		}},
		{name: "sim-counter-only-token", title: "the same in the store of the simulation, which fails over", checks: []check{
			simulated("I4"),
		}},
		{name: "driver-repeats", title: "the driver repeats what was not answered, and operations have no ids", checks: []check{
			tested(store, "TestLostAnswersHaveNoSecondEffect", "lost_test.go:"), {fault: "F8", finds: "claims were forgotten"},
		}},
		{name: "wait-elsewhere", title: "WAIT goes by another connection", checks: []check{
			tested(store, "TestReplicasConfirm", "confirm_test.go:"),
		}},
		{name: "replicas-of-another", title: "confirmations are held against the replicas of whichever server was heard of last", checks: []check{
			tested(store, "TestConfirmationByTheReplicasOfAnOldPrimary", "two_primaries_test.go:"),
		}},
		{name: "silent-duplicate", title: "a duplicate writes nothing that replicas could confirm", checks: []check{
			tested(store, "TestDuplicatesWrite", "has written nothing"),
		}},
		{name: "sim-local-clock", title: "the local clock instead of Redis's", checks: []check{
			simulated("I3"),
		}},
		{name: "claim-in-two-commands", title: "a claim looks and takes in two commands", checks: []check{
			tested(store, "TestEngineRunsEachTaskOnce", "engine_test.go:"), {fault: "F17", finds: "I4"},
		}},
		{name: "sim-not-given-back", title: "a lease is kept when its attempt cannot be sent", checks: []check{
			simulated("I6"), tested(server, "TestUnsentAttemptsAreGivenBack", "given to others"),
		}},
		{name: "retry-burned", title: "a worker's crash burns a retry", checks: []check{
			{fault: "F2", finds: "I2"},
		}},
		{name: "sim-retry-burned", title: "the same in the store of the simulation", checks: []check{
			simulated("I6"),
		}},
		{name: "payload-in-error", title: "a payload is in the text of an error", checks: []check{
			{fault: "F29", finds: "I11"},
		}},
		{name: "answers-gone-early", title: "the answers to repeated reports are gone before the task's retention", checks: []check{
			{fault: "F29", finds: "I1: lost: a report"},
		}},
		{name: "no-jitter", title: "no jitter", checks: []check{
			tested(policy, "TestJitterRanges", "jitter_test.go:"), {fault: "F35", finds: "spike"},
		}},
	}
}

// simulated is a run of a few hundred seeds.
func simulated(finds string) check {
	return check{test: []string{"./internal/simulation", "-run", "TestSeeds", "-seeds", "1:200"}, finds: finds}
}

// tested is a test of a package, with flags of its own.
func tested(pkg, name, finds string, flags ...string) check {
	return check{test: append([]string{pkg, "-run", "^" + name + "$"}, flags...), finds: finds}
}
