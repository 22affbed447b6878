// Why this exists: files must pass between this project and PyTorch in both directions, and hostile ones must be harmless.
using System.Diagnostics;
using System.IO.Compression;
using System.Text;
using CoCLR.Core;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Models;
using CoCLR.Engine.Tests.Video;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Interop;

public sealed class PyTorchInteropTests
{
    private const string Python = "/usr/bin/python3";

    [Fact]
    public void Write_ThenRead_GivesTheSameTensors()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var tensors = Sample();
        foreach (var under in new[] { null, "state_dict" })
        {
            PyTorchWriter.Write(folder.File("a.pth"), tensors, under);
            var read = PyTorchReader.Read(folder.File("a.pth"));
            Assert.Equal(tensors.Keys, read.Keys);
            Assert.All(tensors, entry => Assert.True(Close.Same(read[entry.Key], entry.Value), entry.Key));
            Assert.All(tensors, entry => Assert.Equal(entry.Value.dtype, read[entry.Key].dtype));
        }
    }

    [Fact]
    public void ExportedS3D_LoadsInPyTorchWithLoadStateDict()
    {
        RequireTorch();
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var encoder = VideoEncoder.Create("S3D", seed: 4);
        PyTorchWriter.Write(folder.File("backbone.pth"), ReferenceLayout.FromBackbone(ModuleState.Of(encoder.Backbone)));
        PyTorchWriter.Write(folder.File("encoder.pth.tar"), ReferenceLayout.FromEncoder(ModuleState.Of(encoder)), "state_dict");
        encoder.eval();
        using var frozen = no_grad();
        using var generator = new Generator(1);
        var clip = randn([1, 3, 8, 32, 32], generator: generator);
        Safetensors.Write(folder.File("clip.safetensors"), new Dictionary<string, Tensor> { ["clip"] = clip });
        PyTorchWriter.Write(
            folder.File("clip.pth"),
            new Dictionary<string,
            Tensor>
            { ["clip"] = clip, ["embedding"] = encoder.forward(clip), ["feature"] = encoder.Backbone.Features(clip) });
        // A PyTorch S3D written from its description, with the reference's names and double registration.
        Run(folder, """
            import torch
            from torch import nn
            from torch.nn import functional as F
            class Basic(nn.Module):
                def __init__(s, i, o):
                    super().__init__(); s.conv = nn.Conv3d(i, o, 1, bias=False); s.bn = nn.BatchNorm3d(o)
                def forward(s, x): return F.relu(s.bn(s.conv(x)))
            class ST(nn.Module):
                def __init__(s, i, o, k, st=1):
                    super().__init__(); p = k // 2
                    s.conv1 = nn.Conv3d(i, o, (1, k, k), (1, st, st), (0, p, p), bias=False); s.bn1 = nn.BatchNorm3d(o)
                    s.conv2 = nn.Conv3d(o, o, (k, 1, 1), (st, 1, 1), (p, 0, 0), bias=False); s.bn2 = nn.BatchNorm3d(o)
                def forward(s, x): return F.relu(s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x))))))
            class Mixed(nn.Module):
                def __init__(s, i, a, b, c, d, e, f):
                    super().__init__()
                    s.branch0 = nn.Sequential(Basic(i, a)); s.branch1 = nn.Sequential(Basic(i, b), ST(b, c, 3))
                    s.branch2 = nn.Sequential(Basic(i, d), ST(d, e, 3)); s.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), Basic(i, f))
                def forward(s, x): return torch.cat([s.branch0(x), s.branch1(x), s.branch2(x), s.branch3(x)], 1)
            class S3D(nn.Module):
                def __init__(s):
                    super().__init__(); P = nn.MaxPool3d
                    s.Conv_1a = ST(3, 64, 7, 2); s.block1 = nn.Sequential(s.Conv_1a)
                    s.Conv_2b = Basic(64, 64); s.Conv_2c = ST(64, 192, 3); s.block2 = nn.Sequential(P((1,3,3),(1,2,2),(0,1,1)), s.Conv_2b, s.Conv_2c)
                    s.Mixed_3b = Mixed(192,64,96,128,16,32,32); s.Mixed_3c = Mixed(256,128,128,192,32,96,64); s.block3 = nn.Sequential(P((1,3,3),(1,2,2),(0,1,1)), s.Mixed_3b, s.Mixed_3c)
                    s.Mixed_4b = Mixed(480,192,96,208,16,48,64); s.Mixed_4c = Mixed(512,160,112,224,24,64,64); s.Mixed_4d = Mixed(512,128,128,256,24,64,64)
                    s.Mixed_4e = Mixed(512,112,144,288,32,64,64); s.Mixed_4f = Mixed(528,256,160,320,32,128,128)
                    s.block4 = nn.Sequential(P(3,2,1), s.Mixed_4b, s.Mixed_4c, s.Mixed_4d, s.Mixed_4e, s.Mixed_4f)
                    s.Mixed_5b = Mixed(832,256,160,320,32,128,128); s.Mixed_5c = Mixed(832,384,192,384,48,128,128); s.block5 = nn.Sequential(P(2,2), s.Mixed_5b, s.Mixed_5c)
                def forward(s, x): return s.block5(s.block4(s.block3(s.block2(s.block1(x)))))
            net = S3D(); encoder = nn.Sequential(S3D(), nn.AdaptiveAvgPool3d(1), nn.Conv3d(1024, 1024, 1), nn.ReLU(), nn.Conv3d(1024, 128, 1))
            net.load_state_dict(torch.load('backbone.pth', weights_only=True))
            state = torch.load('encoder.pth.tar', weights_only=True)['state_dict']
            assert len(net.state_dict()) == 924, len(net.state_dict())
            encoder.load_state_dict({k[len('encoder_q.'):]: v for k, v in state.items()})
            given = torch.load('clip.pth', weights_only=True); net.eval(); encoder.eval()
            with torch.no_grad():
                assert torch.allclose(net(given['clip']).mean((2, 3, 4)), given['feature'], rtol=1e-4, atol=1e-5)
                assert torch.allclose(F.normalize(encoder(given['clip']).flatten(1)), given['embedding'], rtol=1e-4, atol=1e-5)
            torch.save({'epoch': 3, 'state_dict': {'module.' + k: v for k, v in state.items()} | {'module.encoder_k.0.Conv_1a.conv1.weight': torch.zeros(1), 'module.queue': torch.zeros(2, 2)}, 'best_acc': 0.5, 'optimizer': {'state': {}, 'param_groups': [{'lr': 1e-3, 'betas': (0.9, 0.999)}]}}, 'zip.pth.tar')
            torch.save(net.state_dict(), 'legacy.pth', _use_new_zipfile_serialization=False)
            """);
        foreach (var file in new[] { "zip.pth.tar", "legacy.pth", "encoder.pth.tar", "backbone.pth" })
        {
            using var fresh = VideoEncoder.Create("S3D", seed: 9);
            var imported = ReferenceLayout.ToEncoder(PyTorchReader.Read(folder.File(file)), file);
            var complete = imported.Keys.Any(name => name.StartsWith("head.", StringComparison.Ordinal));
            Assert.Equal(file.EndsWith(".tar", StringComparison.Ordinal), complete);
            if (complete)
            {
                ModuleState.Load(fresh, imported, file);
            }
            else
            {
                ModuleState.Load(fresh.Backbone, imported.ToDictionary(e => e.Key["backbone.".Length..], e => e.Value), file);
            }

            Assert.All(
                fresh.Backbone.state_dict().Zip(encoder.Backbone.state_dict()),
                pair => Assert.True(Close.Same(pair.First.Value, pair.Second.Value), $"{file}: {pair.First.Key}"));
        }
    }

    [Fact]
    public void Read_TensorsPyTorchWritesInOtherWays_AreUnderstood()
    {
        RequireTorch();
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        Run(folder, """
            import collections, torch, numpy
            x = torch.arange(24.).view(4, 6)
            torch.save({'state_dict': collections.OrderedDict(a=x.t(), b=x[1:3, ::2], c=torch.nn.Parameter(x), d=x.half(), e=x.bfloat16(), f=torch.tensor(3), g=torch.zeros(0, 2), h=x > 3), 'best_acc': numpy.float64(0.5), 'list': [1, 2.5, None, True, (1, 'x')]}, 'a.pth')
            torch.save([x, {'y': x * 2}], 'b.pth')
            torch.save({'big': 2**70, 'x': x}, 'c.pth')
            """);
        var x = arange(24f).view(4, 6);
        var a = PyTorchReader.Read(folder.File("a.pth"));
        Assert.Equal(["a", "b", "c", "d", "e", "f", "g", "h"], a.Keys);
        Assert.True(Close.Same(a["a"], x.t()));
        Assert.True(Close.Same(a["b"], x[TensorIndex.Slice(1, 3), TensorIndex.Slice(null, null, 2)]));
        Assert.True(Close.Same(a["c"], x));
        Assert.Equal(3, a["f"].item<long>());
        Assert.Equal([0, 2], a["g"].shape);
        Assert.Equal(ScalarType.BFloat16, a["e"].dtype);
        Assert.True(Close.Same(a["h"], x.gt(3)));
        Assert.Equal(["0", "1.y"], PyTorchReader.Read(folder.File("b.pth")).Keys);
        Assert.Equal(["x"], PyTorchReader.Read(folder.File("c.pth")).Keys);
    }

    [Theory]
    [InlineData("cos\nsystem\n(S'touch pwned'\ntR.")]
    [InlineData("cbuiltins\neval\n(X\u0001\0\0\0xtR.")]
    [InlineData("csubprocess\nPopen\n)R.")]
    [InlineData("\u0080\u0002ctorch.hub\nload\n)R.")]
    [InlineData("\u0080\u0004\u008c\u0005posix\u008c\u0006system\u0093.")]
    public void Read_PickleThatNamesCode_IsRefusedAndNamesIt(string pickle)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("evil.pth");
        using (var zip = ZipFile.Open(path, ZipArchiveMode.Create))
        {
            using var entry = zip.CreateEntry("archive/data.pkl", CompressionLevel.NoCompression).Open();
            entry.Write(Encoding.Latin1.GetBytes(pickle));
        }

        var error = Assert.Throws<UserErrorException>(() => PyTorchReader.Read(path));
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
        Assert.Contains("refused", error.Message, StringComparison.Ordinal);
    }

    // The only archives that are read are PyTorch's, and nothing of them is unpacked to the disk.
    [Fact]
    public void Read_CompressedArchive_IsRefused()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("bomb.pth");
        using (var zip = ZipFile.Open(path, ZipArchiveMode.Create))
        {
            using var entry = zip.CreateEntry("archive/data.pkl", CompressionLevel.Optimal).Open();
            entry.Write(new byte[10_000_000]);
        }

        Assert.Equal(ExitCodes.BadData, Assert.Throws<UserErrorException>(() => PyTorchReader.Read(path)).ExitCode);
    }

    [Fact]
    public void Read_RandomDamage_ReadsOrSaysSo()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        PyTorchWriter.Write(folder.File("a.pth"), Sample());
        var whole = File.ReadAllBytes(folder.File("a.pth"));
        var random = new CounterRandom(2, CounterRandom.Purpose("fuzz"));
        for (var i = 0; i < 1500; i++)
        {
            var damaged = whole.ToArray();
            for (var n = random.NextInt(6); n >= 0; n--)
            {
                damaged[random.NextInt(damaged.Length)] = (byte)random.NextInt(256);
            }

            File.WriteAllBytes(folder.File("fuzz.pth"), i % 3 == 0 ? damaged[..random.NextInt(damaged.Length)] : damaged);
            try
            {
                foreach (var tensor in PyTorchReader.Read(folder.File("fuzz.pth")).Values)
                {
                    tensor.Dispose();
                }
            }
            catch (UserErrorException e)
            {
                Assert.Equal(ExitCodes.BadData, e.ExitCode);
            }
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("hello")]
    [InlineData("PK\u0003\u0004 but no archive")]
    public void Read_NotAPyTorchFile_SaysSo(string content)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("x.pth"), content);
        Assert.Equal(ExitCodes.BadData, Assert.Throws<UserErrorException>(() => PyTorchReader.Read(folder.File("x.pth"))).ExitCode);
        Assert.Equal(
            ExitCodes.MissingInput, Assert.Throws<UserErrorException>(() => PyTorchReader.Read(folder.File("missing.pth"))).ExitCode);
    }

    [Fact]
    public void ToEncoder_UnknownNames_SaysWhatIsExpected()
    {
        using var scope = NewDisposeScope();
        Assert.Equal(ExitCodes.BadData, Assert.Throws<UserErrorException>(() => ReferenceLayout.ToEncoder(Sample(), "x.pth")).ExitCode);
    }

    private static void RequireTorch()
    {
        if (!File.Exists(Python) || Start(Path.GetTempPath(), "import torch").ExitCode != 0)
        {
            Assert.Skip("needs /usr/bin/python3 with PyTorch (Debian: python3-torch)");
        }
    }

    private static void Run(TemporaryFolder folder, string script)
    {
        var (code, output) = Start(folder.Path, script);
        Assert.True(code == 0, output);
    }

    private static (int ExitCode, string Output) Start(string folder, string script)
    {
        using var process = Process.Start(new ProcessStartInfo(Python, ["-c", script])
        {
            WorkingDirectory = folder,
            RedirectStandardError = true,
            Environment = { ["OMP_NUM_THREADS"] = "1", ["OMP_WAIT_POLICY"] = "PASSIVE" },
        })!;
        var output = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output);
    }

    private static Dictionary<string, Tensor> Sample()
    {
        TorchRuntime.Initialize();
        using var generator = new Generator(3);
        var x = randn(3, 4, generator: generator);
        return new Dictionary<string, Tensor>
        {
            ["x.weight"] = x,
            ["transposed"] = x.t(),
            ["half"] = x.to_type(ScalarType.Float16),
            ["brain"] = x.to_type(ScalarType.BFloat16),
            ["long"] = arange(7),
            ["bool"] = x.gt(0),
            ["scalar"] = tensor(3L),
            ["nothing"] = zeros(0, 3),
        };
    }
}
