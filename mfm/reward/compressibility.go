package reward

import (
	"cmp"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"maps"
	"math"
	"slices"
)

// Compressibility is a black-box reward of pictures by the number of bytes that they have as JPEG,
// by the encoder of package image/jpeg:
//
//	r(x) = -bytes/1000,   or   r(x) = -(bytes - Target)²/(2 Width²)   if Width is not 0.
//
// It has no gradient: use MFM-GF, Best-of-N or a search. Pictures are [n, height, width, 1] or [n,
// height, width, 3]; pixels are clipped to [-1, 1] and rounded to 256 levels.
type Compressibility struct {
	// Quality is that of JPEG, in [1, 100].
	Quality int     `json:"quality"`
	Target  float64 `json:"target"` // in bytes
	Width   float64 `json:"width"`  // in bytes
}

// Validate returns an error that names the first invalid value.
func (c Compressibility) Validate() error {
	switch {
	case c.Quality < 1 || c.Quality > 100:
		return invalid("compressibility", "quality = %d: must lie in [1, 100]", c.Quality)
	case c.Width == 0 && c.Target != 0:
		return invalid("compressibility", "target = %g without a width: give both, or none", c.Target)
	case c.Width == 0:
		return nil
	}
	return cmp.Or(hold("compressibility", "target", c.Target), positive("compressibility", "width", c.Width))
}

// Host returns r. It panics with Validate's error. A picture with pixels that are NaN has the
// reward NaN.
func (c Compressibility) Host() Host {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	return func(samples []float32, shape []int) ([]float64, error) {
		if len(shape) != 4 || shape[3] != 1 && shape[3] != 3 || min(shape[1], shape[2]) < 1 {
			return nil, fmt.Errorf("reward compressibility: samples have the shape %v: want pictures [n, height, width, 1 or 3]",
				shape)
		}
		size := shape[1] * shape[2] * shape[3]
		out := make([]float64, shape[0])
		for i := range out {
			pixels := samples[i*size : (i+1)*size]
			if slices.ContainsFunc(pixels, func(v float32) bool { return v != v }) {
				out[i] = math.NaN()
				continue
			}
			bytes, err := c.size(pixels, shape[1], shape[2], shape[3])
			if err != nil {
				return nil, err
			}
			if out[i] = -float64(bytes) / 1000; c.Width != 0 {
				z := (float64(bytes) - c.Target) / c.Width
				out[i] = -z * z / 2
			}
		}
		return out, nil
	}
}

// size returns the number of bytes of a picture.
func (c Compressibility) size(pixels []float32, height, width, channels int) (int, error) {
	level := func(v float32) uint8 { return uint8(math.Round(float64(min(max(v, -1), 1)+1) * 127.5)) }
	gray, rgb := image.NewGray(image.Rect(0, 0, width, height)), image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range height * width {
		p := pixels[i*channels : (i+1)*channels]
		if channels == 1 {
			gray.Pix[i] = level(p[0])
			continue
		}
		rgb.SetRGBA(i%width, i/width, color.RGBA{level(p[0]), level(p[1]), level(p[2]), 255})
	}
	var picture image.Image = rgb
	if channels == 1 {
		picture = gray
	}
	var n counted
	err := jpeg.Encode(&n, picture, &jpeg.Options{Quality: c.Quality})
	return int(n), err
}

// counted is a writer that counts bytes.
type counted int

func (n *counted) Write(p []byte) (int, error) {
	*n += counted(len(p))
	return len(p), nil
}

// HostKind is a kind of black-box reward that configurations can name.
type HostKind struct {
	// Example is a JSON object that describes such a reward.
	Example string
	// Parse returns the reward that raw, an object with that kind, describes.
	Parse func(raw []byte) (Host, error)
}

// HostKinds returns the kinds of black-box rewards of this package by name.
func HostKinds() map[string]HostKind {
	return map[string]HostKind{"compressibility": {`{"kind": "compressibility", "quality": 75}`,
		func(raw []byte) (Host, error) {
			var c Compressibility
			if err := cmp.Or(Decode(raw, &c), c.Validate()); err != nil {
				return nil, err
			}
			return c.Host(), nil
		}}}
}

// IsHost reports whether raw is an object whose kind is among [HostKinds].
func IsHost(raw json.RawMessage) bool {
	name, err := kindOf(raw)
	_, known := HostKinds()[name]
	return err == nil && known
}

// ParseHost returns the black-box reward that raw describes, of one of [HostKinds]. Unknown kinds
// and unknown keys are errors.
func ParseHost(raw []byte) (Host, error) {
	name, err := kindOf(raw)
	if err != nil {
		return nil, err
	}
	kind, known := HostKinds()[name]
	if !known {
		return nil, fmt.Errorf("black-box reward: kind %q is unknown: use one of %v", name,
			slices.Sorted(maps.Keys(HostKinds())))
	}
	r, err := kind.Parse(raw)
	return r, ofKind(name, err)
}
