// Why this exists: one test a parser of bytes from outside; see Fuzz.
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Runs;
using TorchSharp;

namespace CoCLR.Engine.Tests.Fuzzing;

public sealed class ParserFuzzTests
{
    [Fact]
    public void Manifests() => Fuzz.Run("manifests", bytes =>
    {
        string text = Encoding.UTF8.GetString(bytes);
        bool suite = ManifestReader.KindOf(text) == ApiNames.Benchmark;
        int problems = suite ? ManifestReader.ReadBenchmark(text).Problems.Count : ManifestReader.ReadExperiment(text).Problems.Count;
        Assert.True(problems >= 0);
    });

    [Fact]
    public void Events() => Fuzz.Run("events", bytes =>
    {
        if (EventLine.Read(bytes, out RunEvent? read, out _))
        {
            JsonSerializer.Serialize(read, CoclrJson.Compact);
        }
    });

    [Fact]
    public void Results() =>
        Fuzz.Run("results", bytes => Allow(() => ResultJson.Read<StageResult>(Encoding.UTF8.GetString(bytes), "result.json")));

    [Fact]
    public void Pickles() => Fuzz.Run("pickle", bytes => Allow<PickleException>(() => PickleReader.Read(new MemoryStream(bytes))));

    [Fact]
    public void PyTorchFiles() => Fuzz.Run("pytorch", bytes => Allow(() => Dispose(PyTorchReader.Read(new MemoryStream(bytes), "a.pth"))));

    [Fact]
    public void Checkpoints() =>
        Fuzz.Run("safetensors", bytes => Allow(() => CheckpointStore.Load(new MemoryStream(bytes), "a.safetensors").Dispose()));

    [Fact]
    public void SafetensorsFiles() =>
        Fuzz.Run("safetensors", bytes => Allow(() => Dispose(Safetensors.Read(new MemoryStream(bytes), "a.safetensors").Tensors)));

    [Fact]
    public void NpyFiles() => Fuzz.Run("npy", bytes => Allow(() =>
    {
        (float[] values, int[] shape) = Npy.ReadFloat32(new MemoryStream(bytes), "a.npy");
        Assert.Equal(values.Length, shape.Aggregate(1L, (product, size) => product * size));
    }));

    [Fact]
    public void ListsOfDataSets()
    {
        string[] videos =
        [
            "Archery/v_Archery_g01_c01.mp4", "Baby/v_Baby_g01_c01.mp4", "Baby/v_Baby_g02_c01.avi", "Zumba/v_Zumba_g02_c01.mp4", "a, b.mp4",
            "x/0wR5jVB-WPk_000417_000427.mp4"
        ];
        string[] names = ["classInd.txt", "trainlist01.txt", "testlist01.txt", "manifest.csv", "kinetics.csv", "Baby_test_split1.txt"];
        Dictionary<string, byte[]> whole = names.ToDictionary(
            name => name, name => File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Fuzzing", "corpus", "lists", name)));
        Fuzz.Run("lists", bytes => Allow(() =>
        {
            int which = bytes.Length % names.Length;
            Dictionary<string, byte[]> lists = new() { [names[which]] = bytes };
            if (which < 3)
            {
                foreach (string name in names[..3].Where(n => n != names[which]))
                {
                    lists[name] = whole[name];
                }
            }

            VideoCatalogue catalogue = CatalogueReader.Read(DataFolder.Of("/data", videos, lists), new CatalogueOptions { Root = "/data" });
            Assert.All(catalogue.Videos, video => Assert.InRange(video.Label, -1, catalogue.Classes.Count - 1));
        }));
    }

    [Fact]
    public void VideoHeaders() => Fuzz.Run("ffprobe", bytes => Allow(() => DataScanner.Describe(Encoding.UTF8.GetString(bytes))));

    [Fact]
    public void FfmpegLogs() => Fuzz.Run("ffmpeglog", bytes =>
    {
        FfmpegTool.FfmpegLog log = FfmpegTool.FfmpegLog.ReadAsync(new StringReader(Encoding.UTF8.GetString(bytes))).GetAwaiter()
            .GetResult();
        Assert.True(log.Fps >= 0 && log.Seconds >= 0 && log.Summary("/a.mp4").Length < 1000);
    });

    [Fact]
    public void Pictures() =>
        Fuzz.Run("pixmaps", bytes => Allow<InvalidDataException>(() => new PixmapReader(null).ReadToEnd(new MemoryStream(bytes))));

    /// <summary>The documented answers to bad bytes: an error that a person can act on and that is never retried.</summary>
    private static void Allow(Action parse)
    {
        try
        {
            parse();
        }
        catch (UserErrorException error)
        {
            Assert.True(ExitCodes.IsPermanent(error.ExitCode), error.Message);
        }
    }

    private static void Allow<TExpected>(Action parse)
        where TExpected : Exception
    {
        try
        {
            Allow(parse);
        }
        catch (TExpected)
        {
            // documented
        }
    }

    private static void Dispose(Dictionary<string, torch.Tensor> tensors) => Safetensors.DisposeAll(tensors);
}
