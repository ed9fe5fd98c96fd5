// Package scripts has the tests of the shell scripts.
package scripts

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// all are the scripts that users call.
var all = []string{"bench", "killtest", "lab", "parity", "run", "setup", "test"}

// checkout returns a folder, which other users can read, with copies of the scripts. It has
// stand-ins for Go's tools and for scripts/setup: the given commands, or exit 7.
func checkout(t *testing.T, standIns map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	place := func(name, text string) {
		path := filepath.Join(root, name)
		if err := errors.Join(
			os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(text), 0o755),
		); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range append([]string{"lab.json", "lib.sh"}, all...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		place("scripts/"+name, string(text))
	}
	for _, name := range []string{
		"scripts/setup", ".venv/bin/go", ".venv/bin/gofmt", ".venv/bin/staticcheck", ".venv/bin/gotestsum",
		".venv/bin/python",
	} {
		command, given := standIns[filepath.Base(name)]
		if !given {
			command = "exit 7"
		}
		place(name, "#!/usr/bin/env bash\n"+command+"\n")
	}
	return root
}

// call runs a command in a folder and returns its exit code and what it wrote.
func call(t *testing.T, dir string, user *syscall.Credential, command ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	var out, err bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, &out, &err, &syscall.SysProcAttr{Credential: user}
	cmd.Env = append(os.Environ(), "CDPATH=/:"+filepath.Dir(dir))
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// Every script finds its checkout from any folder, with CDPATH set, and by a link to it.
func TestScriptsFindTheirCheckout(t *testing.T) {
	root := checkout(t, map[string]string{"setup": `pwd -P >&2; exit 7`, "go": `pwd -P >&2; exit 7`})
	link := filepath.Join(t.TempDir(), "link")
	for _, name := range all {
		if name == "setup" {
			continue // a stand-in; TestHelp calls the script
		}
		path := filepath.Join(root, "scripts", name)
		if err := errors.Join(os.RemoveAll(link), os.Symlink(path, link)); err != nil {
			t.Fatal(err)
		}
		if name == "run" {
			if err := errors.Join(
				os.MkdirAll(root+"/notebooks", 0o755),
				os.WriteFile(root+"/notebooks/a.ipynb", nil, 0o644),
			); err != nil {
				t.Fatal(err)
			}
		}
		for _, way := range [][]string{
			{root, "scripts/" + name}, {root + "/scripts", "./" + name}, {"/", path}, {filepath.Dir(link), "./link"},
			{"/", link},
		} {
			arguments := []string{way[1]}
			if name == "run" || name == "parity" {
				arguments = append(arguments, "a")
			}
			code, _, stderr := call(t, way[0], nil, append([]string{"bash"}, arguments...)...)
			if first, _, _ := strings.Cut(stderr, "\n"); code == 0 || first != root {
				t.Errorf("%s from %s: exit code %d, %q; want a setup or a build in %s",
					way[1], way[0], code, stderr, root)
			}
		}
	}
}

// The help of a script is its head, by a link too, and also if the checkout cannot be written to.
// Help that cannot be written is an error.
func TestHelp(t *testing.T) {
	for _, name := range []string{"bench", "fuzz", "killtest", "lab", "parity", "run", "setup", "test"} {
		link := filepath.Join(t.TempDir(), "link")
		path, err := filepath.Abs(name)
		if err == nil {
			err = os.Symlink(path, link)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, script := range []string{path, link} {
			code, stdout, stderr := call(t, "/", nil, script, "-h")
			if code != 0 || !strings.Contains(stdout, "scripts/"+name) || stderr != "" {
				t.Errorf("%s -h: exit code %d, %q, %q", script, code, stdout, stderr)
			}
		}
		if code, _, _ := call(t, "/", nil, "bash", "-c", path+" -h >/dev/full"); code != 1 {
			t.Errorf("%s -h > /dev/full: exit code %d, want 1", name, code)
		}
	}
}

// A script in a checkout that the user cannot write to ends with one line that says so.
func TestScriptsOfAnotherUser(t *testing.T) {
	root := checkout(t, nil)
	var user *syscall.Credential
	if os.Geteuid() == 0 {
		user = &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}
	}
	for _, folder := range []string{"", ".venv"} {
		path := filepath.Join(root, folder)
		if err := os.Chmod(path, 0o555); err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			if name == "setup" {
				continue // a stand-in
			}
			code, stdout, stderr := call(t, root, user, "scripts/"+name)
			if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 ||
				!strings.HasPrefix(stderr, name+": no permission to write to "+path) {
				t.Errorf("%s: exit code %d, %q, %q; want one line about %s", name, code, stdout, stderr, path)
			}
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

// The summary of scripts/test ends with the tests that failed, the packages that failed without
// one, and the count. Notebooks run two at a time, each with a folder of its own for figures, and
// their outputs are not mixed.
func TestSummaryNamesFailures(t *testing.T) {
	events := `{"Time":"t","Action":"pass","Package":"m/a","Test":"TestGood","Elapsed":1}
{"Time":"t","Action":"output","Package":"m/a","Test":"TestBad","Output":"\"Action\":\"fail\"\n"}
{"Time":"t","Action":"fail","Package":"m/a","Test":"TestBad/a_\"quoted\"_name","Elapsed":0}
{"Time":"t","Action":"fail","Package":"m/a","Test":"TestBad","Elapsed":0}
{"Time":"t","Action":"fail","Package":"m/a","Elapsed":1}
{"Time":"t","Action":"fail","Package":"m/b","Elapsed":0,"FailedBuild":"m/b"}
{"Time":"t","Action":"pass","Package":"m/c","Elapsed":0}
`
	root := checkout(t, map[string]string{
		"setup": "true", "go": "true", "gofmt": "true", "staticcheck": "true",
		"python": `[[ $1 == scripts/notebook.py ]] || exit 0
name=${*: -1}
echo "$name begins"
mkdir "$MFM_FIGURES" && touch "$name.began"
[[ $name != b.ipynb ]] || exit 1
for ((i = 0; i < 6000; i++)); do [[ -e b.ipynb.began ]] && break || sleep 0.01; done
[[ -e b.ipynb.began ]] && echo "$name ends"`,
		"gotestsum": `cat > "$4" <<'END'` + "\n" + events + "END\n" + `echo ok m/c; [[ $GOMLX_BACKEND == go ]]`,
	})
	if err := errors.Join(
		os.Mkdir(root+"/notebooks", 0o755),
		os.WriteFile(root+"/notebooks/a.ipynb", nil, 0o644),
		os.WriteFile(root+"/notebooks/b.ipynb", nil, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, root, nil, "scripts/test")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	want := []string{"FAIL tests on XLA", "FAIL b.ipynb"}
	for range 2 { // on both backends
		want = append(want, `FAIL m/a TestBad/a_\"quoted\"_name`, "FAIL m/a TestBad", "FAIL m/b")
	}
	want = append(want, "SKIPPED: JupyterLab in a browser, which scripts/test --browser drives", "8 passed, 6 failed")
	if code != 1 || !slices.Equal(lines[max(len(lines)-len(want), 0):], want) {
		t.Errorf("exit code %d, %q ends with\n%s\nwant\n%s", code, stderr, stdout, strings.Join(want, "\n"))
	}
	for _, section := range []string{
		"\n=== b.ipynb\nb.ipynb begins\n--- FAILED: b.ipynb (",
		"\n=== a.ipynb\na.ipynb begins\na.ipynb ends\n--- ok: a.ipynb (",
	} {
		if !strings.Contains(stdout, section) {
			t.Errorf("no section %q in\n%s", section, stdout)
		}
	}
}

// Lines of comments have at most 100 characters, but for the output of examples.
func TestCommentsWrap(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if name := entry.Name(); err == nil && len(name) > 2 && name[0] == '.' {
				return fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		output := false
		for i, line := range strings.Split(string(text), "\n") {
			comment, is := strings.CutPrefix(strings.TrimLeft(line, "\t"), "//")
			output = is && (output || strings.HasPrefix(strings.ToLower(comment), " output:"))
			if is && !output && utf8.RuneCountInString(line) > 100 {
				t.Errorf("%s:%d: a comment of %d characters", path, i+1, utf8.RuneCountInString(line))
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
