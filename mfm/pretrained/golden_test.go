package pretrained_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// golden has the weights, inputs and outputs of an original implementation.
type golden struct {
	weights, in, out checkpoint.Tensors
	metadata         map[string]string
}

// readGolden reads a file of reference values, or skips the test where there is none.
func readGolden(t *testing.T, name string) golden {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "golden", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference values: %v", err)
	}
	all, metadata, err := checkpoint.ReadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	g := golden{checkpoint.Tensors{}, checkpoint.Tensors{}, checkpoint.Tensors{}, metadata}
	for name, value := range all {
		kind, rest, _ := strings.Cut(name, ".")
		map[string]checkpoint.Tensors{"weight": g.weights, "in": g.in, "out": g.out}[kind][rest] = value
	}
	return g
}

func (g golden) int(t *testing.T, key string) int {
	t.Helper()
	n, err := strconv.Atoi(g.metadata[key])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// relativeError returns |got - want|/|want|.
func relativeError(t *testing.T, got, want *tensors.Tensor) float64 {
	t.Helper()
	if !got.Shape().Equal(want.Shape()) {
		t.Fatalf("shape %s, want %s", got.Shape(), want.Shape())
	}
	var difference, norm float64
	w := tensors.MustCopyFlatData[float32](want)
	for i, v := range tensors.MustCopyFlatData[float32](got) {
		difference += math.Pow(float64(v)-float64(w[i]), 2)
		norm += math.Pow(float64(w[i]), 2)
	}
	return math.Sqrt(difference / norm)
}

func toNHWC(x *Node) *Node { return TransposeAllAxes(x, 0, 2, 3, 1) }
func toNCHW(x *Node) *Node { return TransposeAllAxes(x, 0, 3, 1, 2) }

func TestDiTEqualsOriginal(t *testing.T) {
	for _, name := range []string{"dit_tiny_a", "dit_tiny_b"} {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name+".safetensors")
			c := nn.DiTConfig{
				Patch: g.int(t, "patch_size"), Width: g.int(t, "hidden_size"), Depth: g.int(t, "depth"),
				Encoder: g.int(t, "encoder_depth"), Heads: g.int(t, "num_heads"), Classes: g.int(t, "label_dim"),
				Reversed: g.metadata["is_zero_data"] == "True",
			}
			if err := json.Unmarshal([]byte(g.metadata["model_guidance_class_ws"]), &c.Guidance); err != nil {
				t.Fatal(err)
			}
			delete(g.weights, "pos_embed")
			weights, err := pretrained.Import(g.weights, pretrained.DiT(c, g.int(t, "in_channels")))
			if err != nil {
				t.Fatal(err)
			}
			store := model.NewStore()
			if err := pretrained.Load(store, model.RootScopePath, weights); err != nil {
				t.Fatal(err)
			}
			exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x []*Node) []*Node {
				in := nn.Inputs{
					S: x[0], U: x[1], T: x[2], Xbar: toNHWC(x[3]), X: toNHWC(x[4]), Class: x[6], Guidance: x[7],
				}
				v := c.Backbone()(scope, in)
				tangent := toNHWC(x[5])
				ones := OnesLike(x[0])
				sx := ad.JVP([]*Node{v}, []*Node{in.S, in.Xbar}, []*Node{ones, tangent})[0]
				u := ad.JVP([]*Node{v}, []*Node{in.U}, []*Node{ones})[0]
				gradient := Gradient(ReduceAllSum(Mul(v, tangent)), in.X)[0]
				return []*Node{toNCHW(v), toNCHW(sx), toNCHW(u), toNCHW(gradient)}
			})
			if err != nil {
				t.Fatal(err)
			}
			in := g.in
			out, err := exec.Call(in["s"], in["u"], in["t"], in["x"], in["x_cond"], in["tangent"], in["class"], in["cfg_scale"])
			if err != nil {
				t.Fatal(err)
			}
			for i, key := range []string{"v", "jvp_s_x", "jvp_u", "grad_x_cond"} {
				e := relativeError(t, out[i], g.out[key])
				t.Logf("%s: %.2g", key, e)
				if !(e <= 1e-4) {
					t.Errorf("%s: relative error %.3g", key, e)
				}
			}
		})
	}
}

func TestAutoencoderEqualsOriginal(t *testing.T) {
	g := readGolden(t, "vae_tiny.safetensors")
	c := nn.AutoencoderConfig{Images: 3, Latents: 4, Channels: []int{8, 16, 16}, Blocks: 2, Groups: 4, Scale: 1}
	weights, err := pretrained.Import(g.weights, pretrained.Autoencoder(c))
	if err != nil {
		t.Fatal(err)
	}
	for _, c.Checkpoint = range []bool{false, true} {
		store := model.NewStore()
		if err := pretrained.Load(store, model.RootScopePath, weights); err != nil {
			t.Fatal(err)
		}
		a := nn.Autoencoder{AutoencoderConfig: c}
		exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x []*Node) []*Node {
			mean, logVariance := a.Encode(scope, toNHWC(x[0]))
			latent := toNHWC(x[1])
			image := a.Decode(scope, latent)
			gradient := Gradient(ReduceAllSum(Mul(image, toNHWC(x[2]))), latent)[0]
			return []*Node{toNCHW(mean), toNCHW(logVariance), toNCHW(image), toNCHW(gradient)}
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(g.in["image"], g.in["latent"], g.in["w"])
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range []string{"mean", "logvar", "image", "grad_latent"} {
			if e := relativeError(t, out[i], g.out[key]); !(e <= 1e-4) {
				t.Errorf("checkpoint %t: %s: relative error %.3g", c.Checkpoint, key, e)
			}
		}
	}
}
