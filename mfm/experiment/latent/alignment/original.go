package alignment

import (
	"encoding/json"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/reward"
)

// OriginalKind is the kind of black-box rewards by a trained network that round pictures to 8 bits
// and prepare them as the network's original does, see [reward.Scorer]. The key "of" has the
// reward, of a kind of packages classifier or text. It scores the pictures of a held-out reward, of
// Best-of-N, or of another method without gradients. [OriginalExample] is one in JSON.
const OriginalKind = "original"

// OriginalExample is a black-box reward of [OriginalKind] in JSON.
const OriginalExample = `{"kind": "original", "of": {"kind": "aesthetic", "weights": "FOLDER", ` +
	`"head": "sac+logos+ava1-l14-linearMSE.pth"}}`

// IsHost reports whether raw is an object that describes a black-box reward of pictures, of
// [OriginalKind] or one of [reward.HostKinds].
func IsHost(raw []byte) bool { return isOriginal(raw) || reward.IsHost(raw) }

// isOriginal reports whether raw is an object of [OriginalKind].
func isOriginal(raw []byte) bool {
	var v struct {
		Kind string `json:"kind"`
	}
	return json.Unmarshal(raw, &v) == nil && v.Kind == OriginalKind
}

// openOriginal returns the scorer of the reward of [OriginalKind] that raw describes.
func openOriginal(b compute.Backend, raw []byte) (*reward.Scorer, error) {
	var v struct {
		Of json.RawMessage `json:"of"`
	}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, fmt.Errorf("reward %s: %w", OriginalKind, err)
	}
	if v.Of == nil {
		return nil, fmt.Errorf(`reward %s: no reward: give one by a trained network under "of"`, OriginalKind)
	}
	r, err := ParseReward(b, v.Of)
	if err != nil {
		return nil, fmt.Errorf("reward %s: %w", OriginalKind, err)
	}
	of, is := r.(reward.Original)
	if !is {
		return nil, fmt.Errorf("reward %s: %.200s prepares no pictures: leave out %[1]q, or give a reward by a trained network",
			OriginalKind, v.Of)
	}
	return reward.NewScorer(b, of)
}
