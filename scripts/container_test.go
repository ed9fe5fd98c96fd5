package scripts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The container has what scripts/setup requires: the Go of go.mod, a Python that it accepts, and
// the packages that its errors name. Its commands exist.
func TestContainer(t *testing.T) {
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	container, setup := read("Dockerfile"), read("scripts/setup")
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read("go.mod"))[1]
	// Debian 12, bookworm, has Python 3.11.
	if !strings.Contains(container, "FROM golang:"+version+"-bookworm AS base\n") ||
		!strings.Contains(setup, "sys.version_info < (3, 11)") {
		t.Errorf("the container is not Debian 12 with Go %s, as go.mod and scripts/setup require", version)
	}
	packages := regexp.MustCompile(`apt-get install -y --no-install-recommends ([a-z0-9\- ]+)`).FindStringSubmatch(container)
	if packages == nil {
		t.Fatal("the container installs no packages")
	}
	named := regexp.MustCompile(`apt install ([a-z0-9\- ]+[a-z0-9])`).FindAllStringSubmatch(setup, -1)
	if len(named) < 3 {
		t.Fatal("scripts/setup names no packages: ", named)
	}
	for _, list := range named {
		for _, name := range strings.Fields(list[1]) {
			if !strings.Contains(packages[1]+" ", " "+name+" ") && !strings.HasPrefix(packages[1], name+" ") {
				t.Errorf("scripts/setup names the package %s, which the container lacks", name)
			}
		}
	}

	var dev struct {
		Build      struct{ Dockerfile, Context, Target string }
		RemoteUser string
		Post       string `json:"postCreateCommand"`
		Ports      []int  `json:"forwardPorts"`
	}
	if err := json.Unmarshal([]byte(read(".devcontainer/devcontainer.json")), &dev); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join("../.devcontainer", dev.Build.Dockerfile)); err != nil ||
		!strings.Contains(container, " AS "+dev.Build.Target+"\n") || !strings.Contains(container, "useradd") ||
		!strings.Contains(container, " "+dev.RemoteUser+" ") {
		t.Errorf("%+v does not fit the container, %v", dev, err)
	}
	if len(dev.Ports) != 1 || !strings.Contains(container, "EXPOSE 8888\n") || dev.Ports[0] != 8888 {
		t.Errorf("ports %v", dev.Ports)
	}
	commands := []string{dev.Post}
	for _, line := range regexp.MustCompile(`(?m)^(?:RUN|CMD \[") ?(scripts/\w+)`).FindAllStringSubmatch(container, -1) {
		commands = append(commands, line[1])
	}
	if len(commands) != 3 {
		t.Errorf("commands %v", commands)
	}
	for _, command := range commands {
		if code, _, stderr := call(t, "..", nil, command, "-h"); code != 0 {
			t.Errorf("%s -h: exit code %d, %s", command, code, stderr)
		}
	}
}
