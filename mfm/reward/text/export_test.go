package text

import (
	"github.com/gomfm/gomfm/mfm/nn/blip"
	"github.com/gomfm/gomfm/mfm/reward"
)

// OpenImageReward opens an ImageReward of another configuration than the released one.
func OpenImageReward(weights, vocabulary string, c blip.Config, prompt string) (reward.Reward, error) {
	return openImageReward(weights, vocabulary, c, prompt)
}
