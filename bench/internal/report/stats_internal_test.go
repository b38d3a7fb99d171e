package report

import "testing"

func TestSpread(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values []float64
		want   Spread
		text   string
	}{
		"none": {nil, Spread{}, "-"},
		"one":  {[]float64{7.25}, Spread{7.25, 7.25, 7.25, 1}, "7.25"},
		"odd":  {[]float64{30_000, 10_000, 25_000}, Spread{25_000, 10_000, 30_000, 3}, "25,000 (10,000-30,000)"},
		"even": {[]float64{4, 1, 3, 2}, Spread{2.5, 1, 4, 4}, "2.50 (1-4)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := spreadOf(tt.values)
			if got != tt.want || got.String() != tt.text {
				t.Errorf("%+v, as text %q", got, got)
			}
		})
	}
}

func TestSpreadLeavesItsFiguresAlone(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	spreadOf(values)
	if values[0] != 3 || values[1] != 1 {
		t.Errorf("they are %v now", values)
	}
}

func TestRatiosAreTakenWithinRounds(t *testing.T) {
	t.Parallel()
	// The machine was half as quick in round 2, and the other is missing in round 4.
	ours := map[int]float64{1: 200, 2: 100, 3: 210, 4: 1}
	theirs := map[int]float64{1: 100, 2: 50, 3: 100, 5: 1}
	if got := ratios(ours, theirs); got.N != 3 || got.Median != 2 || got.Min != 2 || got.Max != 2.1 {
		t.Errorf("%+v", got)
	}
	for _, none := range []float64{0, -3} {
		if got := ratios(ours, map[int]float64{1: none}); got.N != 0 {
			t.Errorf("over %g: %+v", none, got)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 3: "3", 0.456: "0.46", 9.994: "9.99", 12.34: "12.3", 123.4: "123", 999.6: "1,000", 1234.5: "1,235", 1_234_567: "1,234,567",
		-0.5: "-0.50", -1234.4: "-1,234",
	} {
		if got := number(v); got != want {
			t.Errorf("%g is %q, want %q", v, got, want)
		}
	}
}
