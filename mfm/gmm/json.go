package gmm

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/gomfm/gomfm/mfm/internal/strictjson"
)

// file is a mixture as JSON.
type file struct {
	Weights     []float64     `json:"weights"`
	Means       [][]float64   `json:"means"`
	Covariances [][][]float64 `json:"covariances"`
}

const (
	maxEntries = 1 << 23 // entries of covariances to write, about 160 MB of text
	maxBytes   = 1 << 28 // size of a file to read
)

// FromJSON reads a mixture from {"weights": [...], "means": [[...]], "covariances": [[[...]]]}, the
// arguments of [New]. It returns an error of one line, which names the key's path, for unknown,
// repeated or missing keys, for null, for data after the object and for values that New refuses.
func FromJSON(data []byte) (*Mixture, error) {
	var f file
	if err := strictjson.Decode(data, &f); err != nil {
		return nil, err
	}
	for _, key := range []struct {
		name    string
		missing bool
	}{{"weights", f.Weights == nil}, {"means", f.Means == nil}, {"covariances", f.Covariances == nil}} {
		if key.missing {
			return nil, fmt.Errorf("mixture lacks the key %q: weights, means and covariances are required", key.name)
		}
	}
	return New(f.Weights, f.Means, f.Covariances)
}

// ReadFile reads a mixture from a JSON file, see [FromJSON]. Its errors name the file.
func ReadFile(path string) (*Mixture, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the mixture: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the mixture: %w", err)
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes, too large for a mixture", path, maxBytes)
	}
	m, err := FromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// UnmarshalJSON implements json.Unmarshaler by [FromJSON].
func (m *Mixture) UnmarshalJSON(data []byte) error {
	read, err := FromJSON(data)
	if err != nil {
		return err
	}
	*m = *read
	return nil
}

// MarshalJSON writes the JSON that [FromJSON] reads, without components of weight zero. It returns
// an error if the covariances have more than 8 million entries in total, as those of a data set
// would.
func (m *Mixture) MarshalJSON() ([]byte, error) {
	if entries := float64(m.Len()) * float64(m.dim) * float64(m.dim); entries > maxEntries {
		return nil, fmt.Errorf("mixture has %g entries of covariances, too many for JSON: the limit is %d",
			entries, maxEntries)
	}
	var f file
	for k, w := range m.weights {
		if w == 0 { // underflow in a posterior
			continue
		}
		mean, covariance := m.Component(k)
		f.Weights = append(f.Weights, w)
		f.Means = append(f.Means, mean)
		f.Covariances = append(f.Covariances, covariance)
	}
	return json.Marshal(f)
}
