package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

const (
	manifestFormat  = "gomfm checkpoint"
	manifestVersion = 1
	maxManifest     = 16 << 20 // bytes
	maxStep         = 1e18     // file names have at most 18 digits
)

// envelope is the manifest file: the manifest proper with its format, version and checksum.
type envelope struct {
	Format     string          `json:"format"`
	Version    int             `json:"version"`
	SHA256     string          `json:"sha256"` // of Checkpoint without white space
	Checkpoint json.RawMessage `json:"checkpoint"`
}

// manifest describes one checkpoint.
type manifest struct {
	Step    int64                     `json:"step"`
	File    string                    `json:"file"` // the tensor file, in the same folder
	Size    int64                     `json:"size"` // of the tensor file, in bytes
	SHA256  string                    `json:"sha256"`
	Tensors map[string]manifestTensor `json:"tensors"`
	Meta    json.RawMessage           `json:"meta"` // the caller's metadata
}

// manifestTensor describes one tensor, for readers that do not open the tensor file.
type manifestTensor struct {
	DType string `json:"dtype"` // as safetensors names it
	Shape []int  `json:"shape"`
}

// describe returns the manifest's description of t.
func describe(t Tensors) (map[string]manifestTensor, error) {
	layout, err := arrange(t)
	if err != nil {
		return nil, err
	}
	described := make(map[string]manifestTensor, len(layout))
	for _, s := range layout {
		described[s.name] = manifestTensor{s.info.DType, s.info.Shape}
	}
	return described, nil
}

// encode returns the contents of the manifest file.
func (m *manifest) encode() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	e := envelope{manifestFormat, manifestVersion, hex.EncodeToString(sum[:]), body}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, err
	}
	if len(text) > maxManifest {
		return nil, fmt.Errorf("manifest of %d bytes exceeds the limit of %d: store large data in tensors",
			len(text), maxManifest)
	}
	return append(text, '\n'), nil
}

// readManifest reads and checks the manifest of a step.
func readManifest(dir string, step int64) (*manifest, error) {
	f, size, err := openRegular(filepath.Join(dir, manifestName(step)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxManifest {
		return nil, fmt.Errorf("manifest of %d bytes exceeds the limit of %d", size, maxManifest)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(text)
	if err != nil {
		return nil, err
	}
	if m.Step != step {
		return nil, fmt.Errorf("this is the manifest of step %d", m.Step)
	}
	// The name comes from a file and must not lead out of the folder.
	if e, ok := parseName(m.File); !ok || e.step != step || e.manifest {
		return nil, fmt.Errorf("%q is not the name of a tensor file of step %d", m.File, step)
	}
	return m, nil
}

func decodeManifest(text []byte) (*manifest, error) {
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("truncated or altered: %w", err)
	}
	if e.Format != manifestFormat || e.Version != manifestVersion {
		return nil, fmt.Errorf("format %q version %d, want %q version %d",
			e.Format, e.Version, manifestFormat, manifestVersion)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, e.Checkpoint); err != nil {
		return nil, fmt.Errorf("truncated or altered: %w", err)
	}
	if sum := sha256.Sum256(body.Bytes()); hex.EncodeToString(sum[:]) != e.SHA256 {
		return nil, fmt.Errorf("altered: SHA-256 of the manifest is %x, its entry says %s", sum, e.SHA256)
	}
	var m manifest
	if err := json.Unmarshal(body.Bytes(), &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// checksum is a writer that counts and hashes bytes.
type checksum struct {
	hash hash.Hash
	size int64
}

func newChecksum() *checksum { return &checksum{hash: sha256.New()} }

func (c *checksum) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.hash.Write(p)
}

func (c *checksum) String() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// entry is a file in a checkpoint folder.
type entry struct {
	name     string
	step     int64
	manifest bool
}

var fileName = regexp.MustCompile(`^step-(\d{9,18})(?:\.json|(?:-2)?\.safetensors)$`)

func manifestName(step int64) string { return fmt.Sprintf("step-%09d.json", step) }

// tensorNames returns the two possible names of the tensor file of a step. The second one serves to
// save a step again while the first is in use.
func tensorNames(step int64) []string {
	return []string{fmt.Sprintf("step-%09d.safetensors", step), fmt.Sprintf("step-%09d-2.safetensors", step)}
}

func parseName(name string) (entry, bool) {
	match := fileName.FindStringSubmatch(name)
	if match == nil {
		return entry{}, false
	}
	step, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return entry{}, false
	}
	e := entry{name, step, name == manifestName(step)}
	// Accept only the canonical spelling: step-0000000001.json has a zero too many for step 1.
	return e, e.manifest || slices.Contains(tensorNames(step), name)
}

// list returns the files in dir that belong to checkpoints and ignores all others.
func list(dir string) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, f := range files {
		if e, ok := parseName(f.Name()); ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}
