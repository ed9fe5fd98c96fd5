// Package layer has the layers of the networks of package nn, for a network of one's own as well.
//
// Layers, such as [Dense], [Conv], [GroupNorm] and [Attention], are functions that build graphs
// from primitive GoMLX ops only, so that both forward mode (mfm/ad) and reverse mode can
// differentiate them; fused attention ([AttentionKind]) has rules for both. They panic as graph
// functions do. Images are [batch, height, width, channels]. The variables of a layer are in the
// scope that it receives. Their initial values depend on the seed of the store's generator and on
// their paths alone.
package layer
