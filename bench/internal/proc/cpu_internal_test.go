package proc

import "testing"

func TestParseStat(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		pid  int
		want stat
		bad  bool
	}{
		"plain":           {"42 (redis-server) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0", 42, stat{7, 127}, false},
		"name with )":     {"42 (a) b (c) R 1 42 42 0 -1 4194560 1 2 3 4 1 2 3 4 20 0", 42, stat{1, 10}, false},
		"too short":       {"42 (a) S 7", 0, stat{}, true},
		"no name":         {"42", 0, stat{}, true},
		"ticks no number": {"42 (a) S 7 42 42 0 -1 4194560 1 2 3 4 x 2 3 4 20 0", 0, stat{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid, got, err := parseStat(tt.text)
			if (err != nil) != tt.bad || pid != tt.pid || (!tt.bad && got != tt.want) {
				t.Errorf("pid %d, %+v, error %v", pid, got, err)
			}
		})
	}
}

func TestParseMachine(t *testing.T) {
	t.Parallel()
	used, stolen, err := parseMachine("cpu  100 10 50 9999 77 5 15 30 0 0\ncpu0 1 2 3\n")
	if err != nil || used != 1.8 || stolen != 0.3 {
		t.Errorf("used %g, stolen %g, error %v", used, stolen, err)
	}
	if _, _, err := parseMachine("intr 1"); err == nil {
		t.Error("no error for another line")
	}
}
