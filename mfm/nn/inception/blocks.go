package inception

// pool is what begins a branch. All windows are 3x3.
type pool int

const (
	none    pool = iota
	average      // without the padding
	maximum
	halving // a maximum pool with stride 2 and without padding
)

// block is a part of the network whose branches have the same input. Their outputs are
// concatenated.
type block struct {
	name     string // empty for a part of the stem
	branches []branch
}

// branch is a pool and convolutions, one after another. A fork are two more on the same input,
// whose outputs are concatenated.
type branch struct {
	pool pool
	path []convolution
	fork []convolution
}

// convolution is a convolution with its batch norm and ReLU.
type convolution struct {
	name                            string
	channels, height, width, stride int
	padded                          bool // with zeros, so that the size stays
}

// same is a convolution that keeps the size.
func same(name string, channels, height, width int) convolution {
	return convolution{name, channels, height, width, 1, true}
}

// inside is a 3x3 convolution without padding.
func inside(name string, channels, stride int) convolution {
	return convolution{name, channels, 3, 3, stride, false}
}

// path is a branch of convolutions.
func path(all ...convolution) branch { return branch{path: all} }

// poolOf is a branch of a pool and a pointwise convolution.
func poolOf(p pool, channels int) branch {
	return branch{pool: p, path: []convolution{same("branch_pool", channels, 1, 1)}}
}

// blocks returns the network in the names of pytorch-fid.
func blocks() []block {
	return []block{
		{"", []branch{path(inside("Conv2d_1a_3x3", 32, 2), inside("Conv2d_2a_3x3", 32, 1), same("Conv2d_2b_3x3", 64, 3, 3))}},
		{"", []branch{{pool: halving, path: []convolution{same("Conv2d_3b_1x1", 80, 1, 1), inside("Conv2d_4a_3x3", 192, 1)}}}},
		{"", []branch{{pool: halving}}},
		squares("Mixed_5b", 32), squares("Mixed_5c", 64), squares("Mixed_5d", 64),
		{"Mixed_6a", []branch{
			path(inside("branch3x3", 384, 2)),
			path(same("branch3x3dbl_1", 64, 1, 1), same("branch3x3dbl_2", 96, 3, 3), inside("branch3x3dbl_3", 96, 2)),
			{pool: halving},
		}},
		lines("Mixed_6b", 128), lines("Mixed_6c", 160), lines("Mixed_6d", 160), lines("Mixed_6e", 192),
		{"Mixed_7a", []branch{
			path(same("branch3x3_1", 192, 1, 1), inside("branch3x3_2", 320, 2)),
			path(same("branch7x7x3_1", 192, 1, 1), same("branch7x7x3_2", 192, 1, 7), same("branch7x7x3_3", 192, 7, 1),
				inside("branch7x7x3_4", 192, 2)),
			{pool: halving},
		}},
		forks("Mixed_7b", average), forks("Mixed_7c", maximum),
	}
}

// squares is pytorch-fid's FIDInceptionA.
func squares(name string, pooled int) block {
	return block{name, []branch{
		path(same("branch1x1", 64, 1, 1)),
		path(same("branch5x5_1", 48, 1, 1), same("branch5x5_2", 64, 5, 5)),
		path(same("branch3x3dbl_1", 64, 1, 1), same("branch3x3dbl_2", 96, 3, 3), same("branch3x3dbl_3", 96, 3, 3)),
		poolOf(average, pooled),
	}}
}

// lines is pytorch-fid's FIDInceptionC.
func lines(name string, c int) block {
	return block{name, []branch{
		path(same("branch1x1", 192, 1, 1)),
		path(same("branch7x7_1", c, 1, 1), same("branch7x7_2", c, 1, 7), same("branch7x7_3", 192, 7, 1)),
		path(same("branch7x7dbl_1", c, 1, 1), same("branch7x7dbl_2", c, 7, 1), same("branch7x7dbl_3", c, 1, 7),
			same("branch7x7dbl_4", c, 7, 1), same("branch7x7dbl_5", 192, 1, 7)),
		poolOf(average, 192),
	}}
}

// forks is pytorch-fid's FIDInceptionE_1 with an average pool, and FIDInceptionE_2 with a maximum
// pool.
func forks(name string, p pool) block {
	return block{name, []branch{
		path(same("branch1x1", 320, 1, 1)),
		{
			path: []convolution{same("branch3x3_1", 384, 1, 1)},
			fork: []convolution{same("branch3x3_2a", 384, 1, 3), same("branch3x3_2b", 384, 3, 1)},
		},
		{
			path: []convolution{same("branch3x3dbl_1", 448, 1, 1), same("branch3x3dbl_2", 384, 3, 3)},
			fork: []convolution{same("branch3x3dbl_3a", 384, 1, 3), same("branch3x3dbl_3b", 384, 3, 1)},
		},
		poolOf(p, 192),
	}}
}

// Convolution describes the weights of a convolution of a network.
type Convolution struct {
	Block, Name            string // such as "Mixed_5b" and "branch1x1"; Block is empty in the stem
	In, Out, Height, Width int    // channels and size of the kernel
}

// Convolutions returns the convolutions of the network in the order of the blocks.
func (n Network) Convolutions() (all []Convolution) {
	channels := 3
	for _, b := range blocks() {
		out := 0
		for _, branch := range b.branches {
			in := channels
			add := func(c convolution) int {
				all = append(all, Convolution{b.name, c.name, in, c.channels / n.Divisor, c.height, c.width})
				return c.channels / n.Divisor
			}
			for _, c := range branch.path {
				in = add(c)
			}
			if branch.fork == nil {
				out += in
			}
			for _, c := range branch.fork {
				out += add(c)
			}
		}
		channels = out
	}
	return all
}
