// Package alignment steers a map of latents to rewards of the pictures that the autoencoder
// decodes: the paper's experiment on ImageNet, with the map and the rewards that ship or with
// released ones.
//
// [Open] opens the map, its autoencoder and the evaluators of a [Config], and [Model.To] returns
// the [Steering] to a reward, a [steering.Task]. [OfLatents] turns a reward of pictures into one of
// latents. Each result has, beside the reward, a reward that the steering does not use, the
// distance of the features of other networks to those of unsteered samples, diversity, and monitors
// of exploited rewards.
//
// Unsteered samples of one setting are drawn once, for all rewards, for pools and for Best-of-N.
// Their latents lie in a file, four bytes an element: 2 GB for a pool of 128,000 images of 256x256
// pixels. It is in the folder of [steering.Watch].Pools, where an interrupted pool grows on, or in
// [os.TempDir].
//
// A reward is evaluated at decoded pictures. Decoder and reward are not evaluations of the map:
// [steer.Counts] counts each evaluation of the reward, with the decoder in it, once, and so does
// [steering.Result].NFE, as in the paper. [Result] has the evaluations of map and reward apart.
package alignment

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Config names what samples are steered with.
type Config struct {
	// Map is the folder of the run of the map, or of a release, with its autoencoder; see
	// [latent.OpenModel].
	Map string
	// Evaluator is the file of the network whose features compare pictures, or the folder of a CLIP,
	// see [picture.OpenEvaluator]. Empty means no comparison.
	Evaluator string
	// Second is the file of a second such network, for rewards by the network of the first. Empty
	// means none.
	Second string
}

// Model is a map of latents with its autoencoder and the evaluators of its pictures. It must not be
// used by several goroutines at once.
type Model struct {
	mfm.Model
	// Config is that of the map's training.
	Config latent.Config

	autoencoder latent.Autoencoder
	decoder     *decoder
	evaluators  []evaluator
	codec       []any                     // the autoencoder's network, and a hash of its weights
	weightsHash string                    // of the map, empty before it is needed
	hash        string                    // of map, autoencoder and evaluators
	rewards     map[string]*pictureReward // by their texts
	unsteered   map[string]*base          // by their settings
	before      map[string][]float32
	pools       map[string]*pool
	drawing     steering.Kept // of pools
	kept        steering.Kept // of other unsteered samples
}

// evaluator is a network that compares pictures, with a hash of its file.
type evaluator struct {
	*picture.Evaluator
	hash string
}

// Open opens a map, its autoencoder and the evaluators. It returns an error for a release that does
// not sample posteriors.
func Open(b compute.Backend, c Config) (*Model, error) {
	if r, ok, err := latent.Released(c.Map); err != nil || ok && !r.Posterior() {
		return nil, cmp.Or(err, fmt.Errorf("%s: %s does not sample posteriors: steer a meta flow map", c.Map, r.Name))
	}
	m, config, err := latent.OpenModel(c.Map)
	if err != nil {
		return nil, err
	}
	a, err := latent.OpenAutoencoder(c.Map)
	if err != nil {
		return nil, err
	}
	if channels := a.LatentChannels(); channels != m.Shape[2] {
		return nil, fmt.Errorf("%s: its map is for latents of %d channels, its autoencoder has %d", c.Map, m.Shape[2],
			channels)
	}
	if c.Second != "" && c.Evaluator == "" {
		return nil, fmt.Errorf("second evaluator %s without a first one: name it as the first", c.Second)
	}
	var evaluators []evaluator
	for _, path := range []string{c.Evaluator, c.Second} {
		if path == "" {
			continue
		}
		hash, err := hashFile(path)
		if err != nil {
			return nil, fmt.Errorf("evaluator: %w", err)
		}
		if len(evaluators) > 0 && hash == evaluators[0].hash {
			return nil, fmt.Errorf("second evaluator %s: it is the first one: give another network", path)
		}
		of, err := picture.OpenEvaluator(b, path)
		if err != nil {
			return nil, fmt.Errorf("evaluator: %w", err)
		}
		evaluators = append(evaluators, evaluator{of, hash})
	}
	return newModel(b, m, config, a, evaluators...)
}

// newModel returns the model of its parts.
func newModel(b compute.Backend, of mfm.Model, c latent.Config, a latent.Autoencoder, evaluators ...evaluator) (
	*Model, error) {
	m := &Model{
		Model: of, Config: c, autoencoder: a, evaluators: evaluators, rewards: make(map[string]*pictureReward),
		unsteered: make(map[string]*base), before: make(map[string][]float32), pools: make(map[string]*pool),
	}
	codec, err := run.HashTensors(a.Weights)
	if err != nil {
		return nil, err
	}
	network := a.LatentCodec
	if n, ok := network.(nn.Autoencoder); ok {
		n.Checkpoint = false // changes no number
		network = n
	}
	m.codec = []any{network, codec}
	// Before rewards add their weights to the store.
	first := evaluator{} // without a hash, which is part of all fingerprints
	if len(evaluators) > 0 {
		first, evaluators = evaluators[0], evaluators[1:]
	}
	spec := []any{c, of.Shape, of.Map.Parametrization, network, codec, first.hash}
	for _, e := range evaluators {
		spec = append(spec, e.hash)
	}
	if m.hash, err = run.Fingerprint(m.Store(), spec); err != nil {
		return nil, err
	}
	m.decoder, err = newDecoder(b, m)
	return m, err
}

// Finalize frees the compiled graphs and closes the pools of unsteered samples. The weights remain.
func (m *Model) Finalize() {
	m.decoder.Finalize()
	m.kept.Finalize()
	m.drawing.Finalize()
	m.closePools()
	for _, r := range m.rewards {
		if r.exec != nil {
			r.exec.Finalize()
		}
		if r.scorer != nil {
			r.scorer.Finalize()
		}
	}
	clear(m.rewards)
	for _, e := range m.evaluators {
		e.Finalize()
	}
}

// Size returns the height, width and channels of a picture.
func (m *Model) Size() []int {
	return []int{m.Shape[0] * m.autoencoder.Factor(), m.Shape[1] * m.autoencoder.Factor(), m.autoencoder.Images}
}

// rows returns the largest number of rows in a batch of the network: as many as their pictures have
// 2^20 pixels (2^22 on a GPU), since decoder and reward need most of the memory.
func (m *Model) rows(b compute.Backend) int {
	pixels := 1 << 20
	if backend.GPU(b) {
		pixels = 1 << 22
	}
	size := m.Size()
	return max(pixels/(size[0]*size[1]), 1)
}

// Steering steers samples of a map of latents to a reward of pictures. It implements
// [steering.Task].
type Steering struct {
	steering.Base
	model    *Model
	pictures *pictureReward // that steers
	heldOut  *pictureReward
	networks []string // hashes of the files of the reward
	// base has the rewards of unsteered samples by the settings of [Model].unsteered, and scores those
	// of [Model].pools.
	base   map[string]pictureValues
	scores map[string]*scores
	// running is the context of the current run, which a black-box reward does not get.
	running context.Context
}

// Finalize frees the compiled graphs, but not those of the model.
func (s *Steering) Finalize() { s.Kept.Finalize() }

// To returns the steering to a reward, which [ParseReward] or [reward.ParseHost] reads, or one of
// [OriginalKind]. heldOut is a reward that the steering does not use; nil means that of [HeldOut].
// It returns an error if both are equal, or sums or multiples of rewards of which they have one in
// common, up to a factor.
func (m *Model) To(b compute.Backend, of, heldOut []byte) (*Steering, error) {
	if heldOut == nil {
		heldOut = HeldOut(of)
	}
	s := &Steering{model: m, base: make(map[string]pictureValues), scores: make(map[string]*scores)}
	var err error
	if s.pictures, err = m.open(b, of); err != nil {
		return nil, err
	}
	if s.heldOut, err = m.open(b, heldOut); err != nil {
		return nil, fmt.Errorf("held-out reward: %w", err)
	}
	fingerprint, err := m.fingerprint(of, heldOut)
	if err != nil {
		return nil, err
	}
	if s.networks, err = filesOf(s.pictures.text); err != nil {
		return nil, err
	}
	s.Map = &m.Model
	if s.Model, err = steer.FromMap(m.Model, mfm.DefaultSamplerConfig()); err != nil {
		return nil, err
	}
	s.Batch, s.Kept, s.Fingerprint = m.rows(b), new(steering.Kept), fingerprint
	if s.pictures.host != nil {
		s.Host = s.onLatents(s.pictures.host)
	} else {
		s.Reward = OfLatents(s.pictures.graph, m.autoencoder, s.pictures.name)
	}
	return s, s.try()
}

// fingerprint returns a hash of the model and of two rewards, which must not overlap.
func (m *Model) fingerprint(of, heldOut []byte) (string, error) {
	name, err := canonical(of)
	if err != nil {
		return "", fmt.Errorf("reward: %w", err)
	}
	other, err := canonical(heldOut)
	if err != nil {
		return "", fmt.Errorf("held-out reward: %w", err)
	}
	if common, err := overlap(name, other); err != nil {
		return "", err
	} else if common != "" {
		return "", fmt.Errorf("held-out reward: it is the reward itself, or has a term of it, up to a factor, %.200s: give "+
			"another one", common)
	}
	return hashJSON([]string{m.hash, name, other})
}

// onLatents returns a black-box reward of pictures as one of latents. It ends with the context of
// the run.
func (s *Steering) onLatents(host reward.Host) reward.Host {
	return func(latents []float32, shape []int) ([]float64, error) {
		ctx := s.running
		if ctx == nil { // outside of a run
			ctx = context.Background()
		}
		pixels, err := s.model.decoder.decode(ctx, latents)
		if err != nil {
			return nil, err
		}
		return host(pixels, append([]int{shape[0]}, s.model.Size()...))
	}
}

// try returns an error unless both rewards take the pictures of the map.
func (s *Steering) try() error {
	rng, noise := rand.New(rand.NewPCG(1, 11)), make([]float32, s.model.Elements())
	for i := range noise {
		noise[i] = float32(rng.NormFloat64())
	}
	if _, _, err := s.evaluate(context.Background(), noise, s.Labels(steering.Setting{Samples: 1})); err != nil {
		return fmt.Errorf("the reward does not fit pictures of shape %v: %w", s.model.Size(), err)
	}
	return nil
}

// trained returns the setting with guidance of the posterior samples, too, if the map was trained
// with this scale: then it is an input of the network, of drift and posterior samples alike,
// without further evaluations. A class without guidance has the one scale of a map that has no
// other.
func (s *Steering) trained(c steering.Setting) steering.Setting {
	if c.Class != nil && c.Guidance == 0 {
		c.Guidance = s.Map.ClassScale
	}
	if slices.Contains(s.Map.Scales, c.Guidance) {
		c.GuidePosterior = true
	}
	return c
}

// Check returns an error that says why a setting cannot be run; nil means that it can.
func (s *Steering) Check(c steering.Setting) error {
	c = s.trained(c)
	if w := s.Map.ClassScale; w != 0 && c.Class != nil && c.Guidance != w {
		return fmt.Errorf("method %s: guidance = %g: the map was trained on classes with guidance of scale %g alone: "+
			"use that, or leave it out", c.Method, c.Guidance, w)
	}
	if err := s.CheckOfData(c, "latents", s.model.Config.Train.Loss.Guidance.Dropout); err != nil {
		return err
	}
	entry, err := steer.Lookup(c.Method)
	if err != nil {
		return err
	}
	if s.Host != nil && !blackBox(entry) {
		return fmt.Errorf("method %s needs the gradient of the reward, which a black-box reward does not have: use "+
			"mfm-gf, best-of-n, smc-mfm-gf or a search", c.Method)
	}
	return nil
}

// blackBox reports whether a method takes a black-box reward.
func blackBox(e steer.Entry) bool {
	return e.Search || slices.Contains([]string{steering.Unsteered, "mfm-gf", "smc-mfm-gf", bestOfN, "best-of-n-one-step"},
		e.Name)
}
