// Why this exists: a package is opened by programs that are not ours: the ONNX graph must give libtorch's numbers, for any batch, in ONNX
// Runtime.
using CoCLR.Engine.Interop;
using CoCLR.Engine.Interop.Onnx;
using CoCLR.Engine.Models;
using CoCLR.Engine.Packaging;
using CoCLR.Engine.Stages;
using CoCLR.Engine.Tests.Video;
using CoCLR.Engine.Training;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace CoCLR.Engine.Tests.Packaging;

public sealed class ModelPackageTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("S3D", 8, 32)]
    [InlineData("S3DG", 8, 32)]
    [InlineData("S3DMini", 16, 64)]
    [InlineData("R2Plus1D18", 8, 32)]
    public void Onnx_EveryNetwork_GivesTheNumbersOfLibtorch_ForAnyBatch(string backbone, int frames, int size)
    {
        using var scope = NewDisposeScope();
        using VideoEncoder encoder = Disturbed(backbone);
        using var exact = (VideoEncoder)Disturbed(backbone).to(ScalarType.Float64);
        using var stream = new MemoryStream();
        OnnxExport.Write(stream, encoder);
        using var session = new InferenceSession(stream.ToArray());
        foreach (int batch in new[] { 1, 3 })
        {
            using var generator = new Generator(7);
            Tensor clips = randn([batch, 3, frames, size, size], generator: generator);
            using var _ = no_grad();
            (float[] features, float[] embedding) = Run(session, clips);
            Tensor twice = clips.to_type(ScalarType.Float64);
            Close(exact.Backbone.Features(twice), encoder.Backbone.Features(clips), features);
            Close(exact.forward(twice), encoder.forward(clips), embedding);
        }
    }

    [Fact]
    public void Package_OfARun_IsWhole_AndEmbedTakesIt()
    {
        using VideoEncoder encoder = Disturbed("S3DMini");
        string stage = _folder.File("run", "stages", "cycle-1-rgb");
        var texts = new Dictionary<string, string>
        {
            ["input.view"] = "rgb", ["input.frames"] = "8", ["input.stride"] = "2", ["input.size"] = "32", ["input.storedSize"] = "36",
            ["input.flowAlgorithm"] = "TvL1", ["input.flowBound"] = "20",
        };
        new CheckpointStore(stage).Save(
            new CheckpointInfo
            {
                Architecture = "S3DMini", Width = 0.25, ProjectionSize = 16, Stage = "cycle-1-rgb", Epoch = 3, Texts = texts
            },
            ModuleState.Of(encoder, "encoder."));
        string package = _folder.File("package");
        PackageConfig config = ModelPackage.Write(stage, package, new PackageOptions { License = "apache-2.0" });
        Assert.Equal(("S3DMini", 8, 32, "apache-2.0"), (config.Architecture, config.Input.Frames, config.Input.Size, config.License));

        foreach (string line in File.ReadAllLines(Path.Combine(package, "SHA256SUMS")))
        {
            string[] parts = line.Split("  ");
            Assert.Equal(
                parts[0],
                Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(Path.Combine(package, parts[1])))));
        }

        using VideoEmbedder embedder = VideoEmbedder.Load(package, "rgb", null, "cpu");
        Assert.Equal((8, 2, 32, 36), (embedder.Input.Frames, embedder.Input.Stride, embedder.Input.Size, embedder.Input.StoredSize));
        using Checkpoint read = CheckpointStore.Load(package);
        Assert.Equal(encoder.state_dict().Count, read.Under("encoder.").Count);

        // The C# snippet of the card is this method's code.
        string card = File.ReadAllText(Path.Combine(package, "README.md"));
        Assert.Contains("license: apache-2.0", card, StringComparison.Ordinal);
        Assert.Contains("nothing is claimed", card, StringComparison.Ordinal);
        Assert.Contains("using var session = new InferenceSession(\"model.onnx\");", card, StringComparison.Ordinal);
        Assert.Contains("new DenseTensor<float>(new[] { 1, 3, 8, 32, 32 })", card, StringComparison.Ordinal);
        using var session = new InferenceSession(Path.Combine(package, "model.onnx"));
        var clips = new DenseTensor<float>(new[] { 1, 3, 8, 32, 32 });
        using var results = session.Run([NamedOnnxValue.CreateFromTensor("clips", clips)]);
        float[] features = results.First(r => r.Name == "features").AsEnumerable<float>().ToArray();
        Assert.Equal(config.FeatureSize, features.Length);
    }

    [Fact]
    public void CardsPythonSnippet_RunsAsItStands()
    {
        string? python = new[] { Environment.GetEnvironmentVariable("COCLR_TEST_PYTHON"), "python3" }.FirstOrDefault(
            p => p is { Length: > 0 } && Runs(p, _folder.Path, "import onnxruntime, numpy"));
        Assert.SkipWhen(python == null, "no Python with onnxruntime and numpy (name one in COCLR_TEST_PYTHON)");
        Package_OfARun_IsWhole_AndEmbedTakesIt();
        string card = File.ReadAllText(_folder.File("package", "README.md"));
        Assert.True(Runs(python!, _folder.File("package"), card.Split("```python\n")[1].Split("```")[0]));
    }

    private static bool Runs(string python, string folder, string code)
    {
        try
        {
            var start = new System.Diagnostics.ProcessStartInfo(python, ["-c", code])
            {
                WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true
            };
            using System.Diagnostics.Process process = System.Diagnostics.Process.Start(start)!;
            process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    /// <summary>
    /// An encoder in evaluation mode whose batch norms know the network's activations, as after a training: with others, signals grow, and
    /// rounding with them.
    /// </summary>
    private static VideoEncoder Disturbed(string backbone)
    {
        VideoEncoder encoder = VideoEncoder.Create(backbone, 16, 3);
        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        using var generator = new Generator(5);
        IReadOnlyDictionary<string, Tensor> state = encoder.state_dict();
        foreach ((string name, Tensor tensor) in state.Where(s => s.Key.Contains("bn", StringComparison.Ordinal) && s.Key.EndsWith("bias", StringComparison.Ordinal)))
        {
            tensor.copy_(randn(tensor.shape, generator: generator) * 0.1);
        }

        // One batch moves the running statistics by a tenth, from mean 0 and variance 1: the rest of the way is made here.
        encoder.train();
        _ = encoder.forward(randn([4, 3, 16, 48, 48], generator: generator));
        foreach ((string name, Tensor tensor) in state.Where(s => s.Key.Contains(".running_", StringComparison.Ordinal)))
        {
            tensor.sub_(name.EndsWith("var", StringComparison.Ordinal) ? 0.9 : 0).mul_(10);
        }

        encoder.eval();
        return encoder;
    }

    private static (float[] Features, float[] Embedding) Run(InferenceSession session, Tensor clips)
    {
        var input = new DenseTensor<float>(clips.data<float>().ToArray(), [.. clips.shape.Select(d => (int)d)]);
        using var results = session.Run([NamedOnnxValue.CreateFromTensor("clips", input)]);
        return (
            [.. results.First(r => r.Name == "features").AsEnumerable<float>()],
            [.. results.First(r => r.Name == "embedding").AsEnumerable<float>()]);
    }

    /// <summary>
    /// Both programs round, and gating makes rounding large: ONNX Runtime's numbers may lie a few times as far from double precision as
    /// libtorch's own.
    /// </summary>
    private static void Close(Tensor exact, Tensor libtorch, float[] actual)
    {
        double scale = exact.abs().max().item<double>();
        double noise = Distance(libtorch.to_type(ScalarType.Float64));
        Assert.InRange(noise, 0, 1e-3);
        Assert.Equal(exact.numel(), actual.Length);
        Assert.InRange(Distance(tensor(actual).view_as(exact).to_type(ScalarType.Float64)), 0, Math.Max(1e-4, 4 * noise));
        Assert.True(actual.Distinct().Count() > 3, "the network says something");

        double Distance(Tensor values) => (values - exact).abs().max().item<double>() / scale;
    }
}
