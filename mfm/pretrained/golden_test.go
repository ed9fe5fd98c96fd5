package pretrained_test

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/inception"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// shared returns the path of a file of reference values or weights beside the repository, or skips
// the test where there is none.
func shared(t *testing.T, elements ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "..", "shared"}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	return path
}

func TestParity(t *testing.T) {
	transformer, autoencoder := []string{"grad_x_cond", "jvp_s_x", "jvp_u", "v"},
		[]string{"grad_latent", "image", "logvar", "mean"}
	pair := []string{"grad_pixel_values", "image_embeds", "logits_per_image", "text_embeds"}
	kinds := map[string]string{
		"testdata/sit": "SiT", "testdata/dmf": "SiT", "testdata/autoencoder": "autoencoder", "vae_tiny": "autoencoder",
		"testdata/autoencoder_tiled": "autoencoder",
		"glass_2d":                   "conditional drift", "testdata/efficientnet": "efficientnet", "clip_tiny": "clip",
		"testdata/clip": "clip", "testdata/clip_openclip": "clip", "testdata/clip_openclip_quick": "clip",
		"testdata/inception": "inception",
	}
	for name, outputs := range map[string][]string{
		"testdata/dit_qk_norm": transformer, "testdata/autoencoder": autoencoder,
		"testdata/autoencoder_tiled": autoencoder, "testdata/dit_joint": transformer,
		"testdata/dit_rms": transformer, "testdata/dit_joint_rms": transformer, // the norms of the paper's code
		"testdata/sit": {"v"}, "testdata/dmf": {"v"}, // a SiT with unused outputs, and a flow map of reversed time
		"dit_tiny_a": transformer, "dit_tiny_b": transformer, "vae_tiny": autoencoder, "glass_2d": {"drift"},
		"testdata/efficientnet": {"features", "grad_image", "logits"},
		"clip_tiny":             pair, "testdata/clip": pair, // quick and exact GELU, both of transformers
		"testdata/clip_openclip": pair, "testdata/clip_openclip_quick": pair,
		"testdata/inception": {"features"},
	} {
		t.Run(name, func(t *testing.T) {
			path := name + ".safetensors"
			if !strings.HasPrefix(name, "testdata") {
				path = shared(t, "golden", path)
			}
			r, err := pretrained.ReadReference(path)
			if err != nil {
				t.Fatal(err)
			}
			if kind, err := r.Kind(); err != nil || kind != cmp.Or(kinds[name], "transformer") {
				t.Errorf("kind %q (%v)", kind, err)
			}
			errs, err := pretrained.Parity(backendtest.New(t), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(errs)); !slices.Equal(got, outputs) {
				t.Errorf("outputs %v, want %v", got, outputs)
			}
			for output, e := range errs {
				t.Logf("%s: %.2g", output, e)
				if !(e <= 1e-5) { // the bound for users is 1e-4
					t.Errorf("%s: relative error %.3g", output, e)
				}
			}
		})
	}
}

func TestParityErrors(t *testing.T) {
	const path = "testdata/dit_qk_norm.safetensors"
	backend := backendtest.New(t)
	for message, change := range map[string]func(r *pretrained.Reference){
		`"blocks.1.mlp.fc1.bias" [64] is missing`: func(r *pretrained.Reference) {
			delete(r.Weights, "blocks.1.mlp.fc1.bias")
		},
		`"extra" [16] is unexpected`: func(r *pretrained.Reference) {
			r.Weights["extra"] = r.Weights["x_embedder.proj.bias"]
		},
		`"blocks.0.attn.proj.bias" is [64], want [16]`: func(r *pretrained.Reference) {
			r.Weights["blocks.0.attn.proj.bias"] = r.Weights["blocks.1.mlp.fc1.bias"]
		},
		`"pos_embed": token 0 has`: func(r *pretrained.Reference) {
			r.Weights["pos_embed"] = tensors.FromShape(r.Weights["pos_embed"].Shape())
		},
		`input "u" is missing`:            func(r *pretrained.Reference) { delete(r.In, "u") },
		`output "w" is unknown`:           func(r *pretrained.Reference) { r.Out = checkpoint.Tensors{"w": r.Out["v"]} },
		`"depth" is "x", want an integer`: func(r *pretrained.Reference) { r.Metadata["depth"] = "x" },
		`the kind of network is unknown`:  func(r *pretrained.Reference) { delete(r.Metadata, "encoder_depth") },
	} {
		r, err := pretrained.ReadReference(path)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		if _, err := pretrained.Parity(backend, r); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %s", err, message)
		}
	}
}

// The numbers of parameters are those of pytorch-fid's modules without the classifier. The shapes
// in a file tell the width of its network.
func TestInceptionWeights(t *testing.T) {
	parameters := 0
	for _, w := range pretrained.InceptionWeights(inception.Network{Divisor: 1}) {
		n := 1
		for _, d := range w.Shape {
			n *= d
		}
		if !strings.HasSuffix(w.Path, "/mean") && !strings.HasSuffix(w.Path, "/variance") {
			parameters += n
		}
	}
	if parameters != 21785568 {
		t.Errorf("%d parameters, want 21785568", parameters)
	}
	r, err := pretrained.ReadReference("testdata/inception.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	r.Weights["fc.weight"] = r.Weights["Conv2d_1a_3x3.conv.weight"] // a classifier is left out
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	if err := checkpoint.WriteWeights(path, r.Weights, nil); err != nil {
		t.Fatal(err)
	}
	n, weights, err := pretrained.OpenInception(path)
	if err != nil || n.Divisor != 16 || len(weights) != 94*5 {
		t.Errorf("network %+v of %d tensors, error %v", n, len(weights), err)
	}
	if _, _, err := pretrained.OpenInception("testdata/zip.pt"); err == nil || !strings.Contains(err.Error(), "not an Inception") {
		t.Errorf("other weights: %v", err)
	}
}
