// Why this exists: a trained network is used where neither TorchSharp nor PyTorch is: browsers, phones, other languages, by ONNX.
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Interop.Onnx;

/// <summary>
/// Writes encoders as ONNX: input <c>clips</c> [batch, 3, frames, height, width], normalised as in training; outputs <c>features</c>
/// [batch, F] and <c>embedding</c> [batch, dim] of length 1. Batch norm in evaluation mode is one scale and shift a channel, which goes
/// into the convolution before it.
/// </summary>
public static class OnnxExport
{
    private const double Epsilon = 1e-5;

    /// <summary>Writes an encoder.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="encoder">The encoder.</param>
    /// <param name="metadata">Free text by key, or null.</param>
    public static void Write(Stream stream, VideoEncoder encoder, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(encoder);
        using var frozen = no_grad();
        var network = new Network(ModuleState.Of(encoder));
        OnnxGraph graph = network.Graph;
        string map = graph.Input("clips", "batch", 3, "frames", "height", "width");
        map = encoder.Backbone.Architecture == "R2Plus1D18"
            ? R2Plus1D(network, map)
            : S3D(network, map, gating: encoder.Backbone.Architecture == "S3DG");
        string features = graph.Add("Flatten", [graph.Add("GlobalAveragePool", [map])], ("axis", 1L));
        string hidden = graph.Add("Relu", [network.Linear(features, "head.0")]);
        string embedding = graph.Add("LpNormalization", [network.Linear(hidden, "head.2")], ("axis", 1L), ("p", 2L));
        graph.Output("features", features, "batch", encoder.Backbone.FeatureSize);
        graph.Output("embedding", embedding, "batch", encoder.Head.Dim);
        graph.Write(stream, encoder.Backbone.Architecture, metadata ?? new Dictionary<string, string>());
    }

    private static string S3D(Network network, string map, bool gating)
    {
        map = SpaceTime(network, map, "Conv_1a", kernel: 7, stride: 2);
        map = network.MaxPool(map, [1, 3, 3], [1, 2, 2], [0, 1, 1]);
        map = network.ConvNormRelu(map, "Conv_2b.conv", "Conv_2b.bn", [1, 1, 1], [0, 0, 0]);
        map = SpaceTime(network, map, "Conv_2c", kernel: 3);
        map = network.MaxPool(map, [1, 3, 3], [1, 2, 2], [0, 1, 1]);
        map = Mixed(network, Mixed(network, map, "Mixed_3b", gating), "Mixed_3c", gating);
        map = network.MaxPool(map, [3, 3, 3], [2, 2, 2], [1, 1, 1]);
        foreach (char letter in "bcdef")
        {
            map = Mixed(network, map, $"Mixed_4{letter}", gating);
        }

        map = network.MaxPool(map, [2, 2, 2], [2, 2, 2], [0, 0, 0]);
        return Mixed(network, Mixed(network, map, "Mixed_5b", gating), "Mixed_5c", gating);
    }

    private static string Mixed(Network network, string map, string name, bool gating)
    {
        string Point(string from, string layer) =>
            network.ConvNormRelu(from, $"{name}.{layer}.conv", $"{name}.{layer}.bn", [1, 1, 1], [0, 0, 0]);
        string[] branches =
        [
            Point(map, "branch0.0"),
            SpaceTime(network, Point(map, "branch1.0"), $"{name}.branch1.1", kernel: 3),
            SpaceTime(network, Point(map, "branch2.0"), $"{name}.branch2.1", kernel: 3),
            Point(network.MaxPool(map, [3, 3, 3], [1, 1, 1], [1, 1, 1]), "branch3.1"),
        ];
        return network.Graph.Add(
            "Concat",
            gating ? [.. branches.Select((branch, i) => network.Gate(branch, $"backbone.{name}.gating_b{i}.fc"))] : branches,
            ("axis", 1L));
    }

    private static string SpaceTime(Network network, string map, string name, int kernel, int stride = 1)
    {
        int pad = kernel / 2;
        map = network.ConvNormRelu(map, name + ".conv1", name + ".bn1", [1, stride, stride], [0, pad, pad]);
        return network.ConvNormRelu(map, name + ".conv2", name + ".bn2", [stride, 1, 1], [pad, 0, 0]);
    }

    private static string R2Plus1D(Network network, string map)
    {
        map = network.ConvNormRelu(map, "stem.0", "stem.1", [1, 2, 2], [0, 3, 3]);
        map = network.ConvNormRelu(map, "stem.3", "stem.4", [1, 1, 1], [1, 0, 0]);
        for (int layer = 1; layer <= 4; layer++)
        {
            for (int block = 0; block < 2; block++)
            {
                string name = $"layer{layer}.{block}";
                int stride = layer > 1 && block == 0 ? 2 : 1;
                string inner = network.ConvNormRelu(map, $"{name}.conv1.0.0", $"{name}.conv1.0.1", [1, stride, stride], [0, 1, 1]);
                inner = network.ConvNormRelu(inner, $"{name}.conv1.0.3", $"{name}.conv1.1", [stride, 1, 1], [1, 0, 0]);
                inner = network.ConvNormRelu(inner, $"{name}.conv2.0.0", $"{name}.conv2.0.1", [1, 1, 1], [0, 1, 1]);
                inner = network.ConvNorm(inner, $"{name}.conv2.0.3", $"{name}.conv2.1", [1, 1, 1], [1, 0, 0]);
                string shortcut = stride == 1
                    ? map
                    : network.ConvNorm(map, $"{name}.downsample.0", $"{name}.downsample.1", [stride, stride, stride], [0, 0, 0]);
                map = network.Graph.Add("Relu", [network.Graph.Add("Add", [inner, shortcut])]);
            }
        }

        return map;
    }

    /// <summary>Layers by the names of their weights.</summary>
    private sealed class Network(IReadOnlyDictionary<string, Tensor> state)
    {
        public OnnxGraph Graph { get; } = new();

        public string ConvNormRelu(string map, string convolution, string norm, long[] strides, long[] pads) =>
            Graph.Add("Relu", [ConvNorm(map, convolution, norm, strides, pads)]);

        public string ConvNorm(string map, string convolution, string norm, long[] strides, long[] pads)
        {
            using var scope = NewDisposeScope();
            Tensor Of(string name) => state[$"backbone.{name}"].detach().cpu().to(ScalarType.Float64);
            Tensor weight = Of(convolution + ".weight");
            Tensor scale = Of(norm + ".weight") / (Of(norm + ".running_var") + Epsilon).sqrt();
            Tensor bias = Of(norm + ".bias") - (Of(norm + ".running_mean") * scale);
            long[] kernel = weight.shape[2..];
            return Graph.Add(
                "Conv",
                [map, Constant(weight * scale.view(-1, 1, 1, 1, 1)), Constant(bias)],
                ("kernel_shape", kernel), ("strides", strides), ("pads", (long[])[.. pads, .. pads]));
        }

        public string MaxPool(string map, long[] kernel, long[] strides, long[] pads) =>
            Graph.Add("MaxPool", [map], ("kernel_shape", kernel), ("strides", strides), ("pads", (long[])[.. pads, .. pads]));

        public string Linear(string input, string name)
        {
            using var scope = NewDisposeScope();
            return Graph.Add(
                "Gemm", [input, Constant(state[name + ".weight"].flatten(1)), Constant(state[name + ".bias"])], ("transB", 1L));
        }

        /// <summary>Scales each channel by sigmoid(W·mean + b).</summary>
        public string Gate(string map, string name)
        {
            string mean = Graph.Add("GlobalAveragePool", [map]);
            using var scope = NewDisposeScope();
            Tensor weight = state[name + ".weight"];
            string gate = Graph.Add(
                "Conv",
                [mean, Constant(weight.view(weight.shape[0], weight.shape[1], 1, 1, 1)), Constant(state[name + ".bias"])],
                ("kernel_shape", (long[])[1, 1, 1]));
            return Graph.Add("Mul", [map, Graph.Add("Sigmoid", [gate])]);
        }

        private string Constant(Tensor values)
        {
            Tensor plain = values.detach().cpu().to(ScalarType.Float32).contiguous();
            return Graph.Constant(plain.data<float>().ToArray(), plain.shape);
        }
    }
}
