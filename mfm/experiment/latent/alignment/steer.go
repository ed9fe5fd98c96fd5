// Package alignment steers a map of latents to rewards of the pictures that the autoencoder decodes:
// the paper's experiment on ImageNet, with the map and the rewards that ship or with released ones.
//
// [Open] opens the map, its autoencoder and the evaluator of a [Config], and [Model.To] returns the
// [Steering] to a reward, a [steering.Task]. [OfLatents] turns a reward of pictures into one of
// latents. Each result has, beside the reward, a reward that the steering does not use, the distance
// of the features of another network to those of unsteered samples, diversity, and monitors of
// exploited rewards.
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
	// Evaluator is the file of the network whose features compare pictures, see
	// [picture.OpenEvaluator]. Empty means no comparison.
	Evaluator string
}

// Model is a map of latents with its autoencoder and the evaluator of its pictures. It must not be used
// by several goroutines at once.
type Model struct {
	mfm.Model
	// Config is that of the map's training.
	Config latent.Config

	autoencoder latent.Autoencoder
	decoder     *decoder
	evaluator   *picture.Evaluator // nil means none
	hash        string             // of map, autoencoder and evaluator
	unsteered   map[string]*base   // by their settings
	before      map[string][]float32
	drawn       map[string]*drawn
	pools       map[string]*pool
	kept        steering.Kept // of unsteered samples
}

// Open opens a map, its autoencoder and the evaluator. It returns an error for a release that does not
// sample posteriors.
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
	var evaluator *picture.Evaluator
	var evaluated string
	if c.Evaluator != "" {
		if evaluated, err = hashFile(c.Evaluator); err != nil {
			return nil, fmt.Errorf("evaluator: %w", err)
		}
		if evaluator, err = picture.OpenEvaluator(b, c.Evaluator); err != nil {
			return nil, fmt.Errorf("evaluator: %w", err)
		}
	}
	return newModel(b, m, config, a, evaluator, evaluated)
}

// newModel returns the model of its parts. evaluated identifies the evaluator, which is nil for none.
func newModel(b compute.Backend, of mfm.Model, c latent.Config, a latent.Autoencoder, evaluator *picture.Evaluator,
	evaluated string) (*Model, error) {
	m := &Model{
		Model: of, Config: c, autoencoder: a, evaluator: evaluator, unsteered: make(map[string]*base),
		before: make(map[string][]float32), drawn: make(map[string]*drawn), pools: make(map[string]*pool),
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
	// Before rewards add their weights to the store.
	spec := []any{c, of.Shape, of.Map.Parametrization, network, codec, evaluated}
	if m.hash, err = run.Fingerprint(m.Store(), spec); err != nil {
		return nil, err
	}
	m.decoder, err = newDecoder(b, m)
	return m, err
}

// Finalize frees the compiled graphs, but not the weights.
func (m *Model) Finalize() {
	m.decoder.Finalize()
	m.kept.Finalize()
	for _, p := range m.pools {
		p.steerer.Finalize()
	}
	if m.evaluator != nil {
		m.evaluator.Finalize()
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
	model *Model
	// rewards has the reward and the held-out reward of pictures.
	rewards *pictureRewards
	// base has the rewards of unsteered samples by the settings of [Model].unsteered.
	base map[string]pictureValues
	// pool has the rewards of the blocks of [Model].pools.
	pool map[string][][]float64
}

// Finalize frees the compiled graphs, but not those of the model.
func (s *Steering) Finalize() {
	s.Kept.Finalize()
	s.rewards.exec.Finalize()
}

// To returns the steering to a reward, which [ParseReward] or [reward.ParseHost] reads. heldOut is a
// reward that the steering does not use; nil means that of [HeldOut].
func (m *Model) To(b compute.Backend, of, heldOut []byte) (*Steering, error) {
	if heldOut == nil {
		heldOut = HeldOut(of)
	}
	s := &Steering{model: m, base: make(map[string]pictureValues), pool: make(map[string][][]float64)}
	fingerprint, err := m.fingerprint(of, heldOut)
	if err != nil {
		return nil, err
	}
	evaluated, err := ParseReward(b, heldOut)
	if err != nil {
		return nil, fmt.Errorf("held-out reward: %w", err)
	}
	s.Map = &m.Model
	if s.Model, err = steer.FromMap(m.Model, mfm.DefaultSamplerConfig()); err != nil {
		return nil, err
	}
	s.Batch, s.Kept, s.Fingerprint = m.rows(b), new(steering.Kept), fingerprint
	var pictures reward.Reward
	var host reward.Host
	if reward.IsHost(of) {
		if host, err = reward.ParseHost(of); err != nil {
			return nil, err
		}
		s.Host = m.onLatents(host)
	} else {
		if pictures, err = ParseReward(b, of); err != nil {
			return nil, err
		}
		s.Reward = OfLatents(pictures, m.autoencoder, s.Fingerprint)
	}
	if s.rewards, err = newPictureRewards(b, m, pictures, host, evaluated, s.Fingerprint); err != nil {
		return nil, err
	}
	return s, s.try(b)
}

// fingerprint returns a hash of the model and of two rewards, which must differ.
func (m *Model) fingerprint(of, heldOut []byte) (string, error) {
	name, err := canonical(of)
	if err != nil {
		return "", fmt.Errorf("reward: %w", err)
	}
	other, err := canonical(heldOut)
	if err != nil {
		return "", fmt.Errorf("held-out reward: %w", err)
	}
	if name == other {
		return "", fmt.Errorf("held-out reward %s: it is the reward itself: give another one", heldOut)
	}
	return hashJSON([]string{m.hash, name, other})
}

// onLatents returns a black-box reward of pictures as one of latents.
func (m *Model) onLatents(host reward.Host) reward.Host {
	return func(latents []float32, shape []int) ([]float64, error) {
		pixels, err := m.decoder.decode(context.Background(), latents)
		if err != nil {
			return nil, err
		}
		return host(pixels, append([]int{shape[0]}, m.Size()...))
	}
}

// try returns an error unless both rewards take the pictures of the map.
func (s *Steering) try(b compute.Backend) error {
	rng, noise := rand.New(rand.NewPCG(1, 11)), make([]float32, s.model.Elements())
	for i := range noise {
		noise[i] = float32(rng.NormFloat64())
	}
	pixels, err := s.model.decoder.decode(context.Background(), noise)
	if err == nil {
		_, err = s.rewards.values(context.Background(), pixels, s.Labels(steering.Setting{Samples: 1}))
	}
	if err != nil {
		return fmt.Errorf("the reward does not fit pictures of shape %v: %w", s.model.Size(), err)
	}
	return nil
}

// trained returns the setting with guidance of the posterior samples, too, if the map was trained with
// this scale: then it is an input of the network, of drift and posterior samples alike, without
// further evaluations.
func (s *Steering) trained(c steering.Setting) steering.Setting {
	if slices.Contains(s.Map.Scales, c.Guidance) {
		c.GuidePosterior = true
	}
	return c
}

// Check returns an error that says why a setting cannot be run; nil means that it can.
func (s *Steering) Check(c steering.Setting) error {
	c = s.trained(c)
	entry, err := steer.Lookup(c.Method)
	if err != nil {
		return err
	}
	if entry.Exact {
		return fmt.Errorf("method %s: latents have no value in closed form", c.Method)
	}
	if _, err := s.DrawModel(c); err != nil {
		return err
	}
	dropout := s.model.Config.Train.Loss.Guidance.Dropout
	if (c.Class == nil || c.Guidance != 0) && s.Model.Classes > 0 && dropout == 0 {
		return fmt.Errorf("method %s without a class, or with guidance: the map was trained with dropout = 0, give a "+
			"class alone", c.Method)
	}
	if s.Host != nil && !blackBox(entry) {
		return fmt.Errorf("method %s needs the gradient of the reward, which a black-box reward does not have: use "+
			"mfm-gf, best-of-n, smc-mfm-gf or a search", c.Method)
	}
	return c.Check(nil)
}

// blackBox reports whether a method takes a black-box reward.
func blackBox(e steer.Entry) bool {
	return e.Search || slices.Contains([]string{steering.Unsteered, "mfm-gf", "smc-mfm-gf", bestOfN, "best-of-n-one-step"},
		e.Name)
}
