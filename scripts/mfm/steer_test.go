package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment"
)

// Shards into folders of their own and merged are the whole, and what is there is not run again.
func TestSteerGMM(t *testing.T) {
	args := func(out string, more ...string) []string {
		return append([]string{"steer", "gmm", "--method", "exact,mfm-gf", "--n", "2,4", "--seeds", "2", "--steps", "4", "--samples", "16", "--json", "--out", out}, more...)
	}
	rows := func(args []string) (rows []experiment.SteeringRow) {
		t.Helper()
		code, stdout, stderr := invoke(t.Context(), args...)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &rows); err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			rows[i].Seconds = 0
		}
		return rows
	}
	whole, a, b := t.TempDir(), t.TempDir(), t.TempDir()
	want := rows(args(whole))
	if len(want) != 6 {
		t.Fatalf("%d rows, want 6", len(want))
	}
	if part := rows(args(a, "--shard", "0/2")); len(part) != 3 {
		t.Errorf("%d rows of the first shard, want 3", len(part))
	}
	rows(args(b, "--shard", "1/2"))
	merged := rows([]string{"steer", "merge", "--from", a + "," + b})
	again := rows([]string{"steer", "merge", "--from", whole})
	if !reflect.DeepEqual(merged, again) || len(merged) != 6 {
		t.Errorf("shards give\n%+v, the whole\n%+v", merged, again)
	}
	if got := rows(args(whole)); !reflect.DeepEqual(got, want) {
		t.Error("what is there was not taken")
	}
	_, text, _ := invoke(t.Context(), "steer", "merge", "--from", whole)
	stored := write(t, t.TempDir(), "rows.json", strings.ReplaceAll(text, `"sw2":`, `"sw2":7`))
	for _, row := range rows(args(t.TempDir(), "--stored", stored)) {
		if row.SW2 < 7 {
			t.Errorf("a row that is stored was run again: %+v", row)
		}
	}
	if _, again, _ := invoke(t.Context(), "steer", "merge", "--from", whole+","+stored); strings.Count(again, "cell") != 6 {
		t.Errorf("a folder and a file of the same cells give %s", again)
	}
}

// A filter goes by the SDE alone, a search has no dynamics, and a table says what diverged.
func TestSteerTable(t *testing.T) {
	code, stdout, stderr := invoke(t.Context(), "steer", "gmm", "--method", "dps,smc-dps,search-greedy-renoise", "--dynamics", "ode,sde", "--n", "2", "--steps", "4", "--samples", "16", "--lambda", "10000", "--out", t.TempDir())
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); len(lines) != 5 || strings.Count(stdout, "smc-dps") != 1 || !strings.Contains(stdout, "diverged") {
		t.Errorf("want two rows of dps, one of smc-dps and one of the search, some diverged:\n%s", stdout)
	}
	if !strings.Contains(stderr, "seed 0: ") {
		t.Errorf("nothing is said of the runs: %s", stderr)
	}
}

func TestSteerRefuses(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "reward.json")
	if err := os.WriteFile(broken, []byte(`{"kind": "wish"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"--out":        {"gmm"},
		"luck":         {"gmm", "--out", dir, "--method", "luck"},
		"shard":        {"gmm", "--out", dir, "--shard", "2/2"},
		"numbers":      {"gmm", "--out", dir, "--n", "many"},
		"wish":         {"gmm", "--out", dir, "--reward", broken},
		"positive":     {"gmm", "--out", dir, "--seeds", "0"},
		"no results":   {"merge", "--from", dir},
		"folders":      {"merge"},
		"of its own":   {"gmm", "--out", dir, "--checkpoint", "a", "--mixture", "b"},
		"particles":    {"gmm", "--out", dir, "--method", "smc-dps", "--dynamics", "sde", "--particles", "7"},
		"dynamics":     {"gmm", "--out", dir, "--method", "smc-dps"},
		"no such file": {"gmm", "--out", dir, "--mixture", filepath.Join(dir, "none.json")},
	} {
		code, _, stderr := invoke(t.Context(), append([]string{"steer"}, args...)...)
		if code != 2 || !strings.Contains(stderr, want) || strings.Count(strings.TrimSpace(stderr), "\n") > 0 {
			t.Errorf("steer %v: exit code %d, %q; want 2, and %q in one line", args, code, stderr, want)
		}
	}
}
