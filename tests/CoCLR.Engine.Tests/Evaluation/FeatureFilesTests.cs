// Why this exists: features and collections are read years later and by other programs; what is damaged must be told apart from what is
// whole.
using System.Text;
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Runs;

namespace CoCLR.Engine.Tests.Evaluation;

public sealed class FeatureFilesTests : IDisposable
{
    private static readonly EmbeddingModel Model = new()
    {
        Architecture = "S3DMini", View = "rgb", Checkpoint = "checkpoint.safetensors", CheckpointSha256 = "0123456789abcdef", Frames = 16,
        FrameStride = 1, Resolution = 64,
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("coclr-features-").FullName;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Npy_AsNumPyWritesIt_IsRead()
    {
        // numpy.save of np.arange(6, dtype='<f4').reshape(2, 3)
        File.WriteAllBytes(
            At("a.npy"),
            Bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", BitConverter.GetBytes, 0f, 1f, 2f, 3f, 4f, 5f));
        var (values, shape) = Npy.ReadFloat32(At("a.npy"));
        Assert.Equal([0, 1, 2, 3, 4, 5], values);
        Assert.Equal([2, 3], shape);
    }

    [Fact]
    public void Npy_WrittenHere_IsAsNumPyWouldWriteIt()
    {
        using var stream = new MemoryStream();
        Npy.Write(stream, [1L, -2L], 2);
        var bytes = stream.ToArray();
        Assert.Equal(0, (bytes.Length - 16) % 64);
        Assert.Equal("\u0093NUMPY\u0001\0", Encoding.Latin1.GetString(bytes, 0, 8));
        Assert.StartsWith(
            "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }",
            Encoding.Latin1.GetString(bytes, 10, 100),
            StringComparison.Ordinal);
        Assert.Equal((byte)'\n', bytes[^17]);
        File.WriteAllBytes(At("b.npy"), bytes);
        Assert.Equal([1, -2], Npy.ReadInt64(At("b.npy")).Values);
    }

    [Theory]
    [InlineData("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", "float32")]
    [InlineData("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", "Fortran")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", "4 bytes of data")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999, 99999999), }", "needs")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "shape")]
    [InlineData("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "damaged header")]
    [InlineData("nonsense", "damaged header")]
    public void Npy_Unusable_SaysWhyAndWhere(string header, string why)
    {
        File.WriteAllBytes(At("bad.npy"), Bytes(header, BitConverter.GetBytes, 1f));
        AssertBad(() => Npy.ReadFloat32(At("bad.npy")), why);
    }

    [Fact]
    public void Npy_CutAnywhere_IsNoticed()
    {
        var whole = Bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", BitConverter.GetBytes, 0f, 1f, 2f, 3f, 4f, 5f);
        for (var length = 0; length < whole.Length; length += 5)
        {
            File.WriteAllBytes(At("bad.npy"), whole[..length]);
            AssertBad(() => Npy.ReadFloat32(At("bad.npy")), "");
        }

        Assert.Equal(ExitCodes.MissingInput, Assert.Throws<UserErrorException>(() => Npy.ReadFloat32(At("none.npy"))).ExitCode);
    }

    [Fact]
    public async Task Features_EveryFormat_ComeBackAsWritten()
    {
        var set = Awkward();
        FeatureFiles.WriteNpy(set, _folder, "features-train");
        AssertSame(set, FeatureFiles.ReadNpy(_folder, "features-train"));
        await FeatureFiles.WriteParquetAsync(set, At("features.parquet"), Token);
        AssertSame(set, await FeatureFiles.ReadParquetAsync(At("features.parquet"), Token));
        Assert.Empty(Directory.GetFiles(_folder, "*.tmp"));
    }

    [Fact]
    public void Csv_NamesLikeFormulas_AreDefused()
    {
        FeatureFiles.WriteCsv(Awkward(), At("features.csv"));
        var lines = File.ReadAllLines(At("features.csv"));
        Assert.Equal("id,label,class,f0,f1", lines[0]);
        Assert.Equal("\"'=cmd()\",0,x,1,-2", lines[1]);
        Assert.Equal("\"a,\"\"b\"\"\",,,0.1,3E+20", lines[2]);
    }

    [Fact]
    public async Task Features_DamagedFiles_SaySo()
    {
        FeatureFiles.WriteNpy(Awkward(), _folder, "f");
        File.WriteAllText(At("f.json"), "{\"ids\":[\"only one\"]}");
        AssertBad(() => FeatureFiles.ReadNpy(_folder, "f"), "names 1 videos");
        File.Delete(At("f.json"));
        Assert.Equal(ExitCodes.MissingInput, Assert.Throws<UserErrorException>(() => FeatureFiles.ReadNpy(_folder, "f")).ExitCode);
        await File.WriteAllTextAsync(At("f.parquet"), "PAR1 no", Token);
        var error = await Assert.ThrowsAsync<UserErrorException>(() => FeatureFiles.ReadParquetAsync(At("f.parquet"), Token));
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
    }

    [Fact]
    public void FeatureSet_UnusableInput_NamesTheVideo()
    {
        AssertBad(() => _ = new FeatureSet(["a", "b"], [1, 2, 3, float.NaN]), "video `b` holds NaN at position 1");
        AssertBad(() => _ = new FeatureSet(["a", "a"], [1, 2]), "`a` has two features");
        AssertBad(() => _ = new FeatureSet(["a", "b"], [1, 2, 3]), "cannot share");
        AssertBad(() => _ = new FeatureSet(["a"], [1], [4], ["x"]), "class 4");
        AssertBad(() => _ = new FeatureSet(["a"], [1], [0, 1], ["x"]), "labels");
    }

    [Fact]
    public void FeatureSet_OneVideo_CentresToZeroWithoutError() => Assert.Equal([0f, 0f], new FeatureSet(["a"], [3, 4]).Centred());

    [Fact]
    public void Collection_SavedAndOpened_FindsEachVideoFirst()
    {
        var set = FeatureSamples.Clusters(40, 12, 4, 1, 1);
        using (var made = new EmbeddedVideos(set, [.. set.Ids.Select(id => $"/videos/{id}.mp4")], Model))
        {
            made.Save(At("collection"));
        }

        using var collection = EmbeddedVideos.Open(At("collection"));
        Assert.Equal(ResultJson.Write(Model), ResultJson.Write(collection.Model));
        for (var i = 0; i < 40; i++)
        {
            var hits = collection.Search(set[i].ToArray(), 5);
            Assert.Equal([1, 2, 3, 4, 5], hits.Select(h => h.Rank));
            Assert.Equal((set.Ids[i], $"/videos/{set.Ids[i]}.mp4", set.ClassOf(i)), (hits[0].Id, hits[0].Path, hits[0].Class));
            Assert.Equal(0, hits[0].Distance, 1e-5);
            Assert.Equal(hits.OrderBy(h => h.Distance), hits);
        }

        Assert.Equal(40, collection.Search(set[0].ToArray(), 1000).Count);
        collection.RequireCheckpoint("0123456789ABCDEF");
    }

    [Fact]
    public void Collection_UnusableQueryOrFolder_SaysWhy()
    {
        var set = FeatureSamples.Clusters(3, 4, 1, 1, 1);
        using var collection = new EmbeddedVideos(set, set.Ids, Model);
        AssertBad(() => collection.Search([1, 2], 1), "2 values");
        AssertBad(() => collection.Search([1, 2, float.NaN, 0], 1), "the query");
        Assert.Equal(ExitCodes.BadConfiguration, Assert.Throws<UserErrorException>(() => collection.RequireCheckpoint("ff")).ExitCode);
        AssertBad(() => _ = new EmbeddedVideos(new FeatureSet([], []), [], Model), "at least one video");
        Assert.Equal(ExitCodes.MissingInput, Assert.Throws<UserErrorException>(() => EmbeddedVideos.Open(_folder)).ExitCode);

        collection.Save(At("c"));
        var index = File.ReadAllText(At("c/index.json"));
        File.WriteAllText(At("c/index.json"), index.Replace("\"format\": 1", "\"format\": 2", StringComparison.Ordinal));
        AssertBad(() => EmbeddedVideos.Open(At("c")), "format 2");
        File.WriteAllText(At("c/index.json"), index[..^20]);
        AssertBad(() => EmbeddedVideos.Open(At("c")), "index.json");
    }

    [Fact]
    public void Artifacts_EveryKind_ComesBackAsWritten()
    {
        var (train, test) = (FeatureSamples.Clusters(20, 4, 2, 1, 1, "g"), FeatureSamples.Clusters(5, 4, 2, 1, 2, "q"));
        var outcome = Retrieval.Evaluate(train, test, "rgb");
        EvaluationArtifacts.Write(_folder, EvaluationArtifacts.Neighbours, outcome.Neighbours);
        var read = EvaluationArtifacts.Read<NeighbourTable>(_folder, EvaluationArtifacts.Neighbours);
        Assert.Equal(ResultJson.Write(outcome.Neighbours), ResultJson.Write(read));
        Assert.All(read.Queries, q => Assert.Contains(q.Id, EvaluationArtifacts.VideosOf(read)));

        var result = new StageResult
        {
            Stage = "retrieve-rgb", View = "rgb", Method = "CoCLR", DataSet = "d", Device = "CPU", Outcome = outcome.Result
        };
        new RunFolder(_folder).WriteReport(RunReport.From("x", [result]));
        Assert.Contains("| CoCLR | rgb |", File.ReadAllText(At("report.md")));
        Assert.Equal("x", ResultJson.Read<RunReport>(File.ReadAllText(At("report.json")), "report.json").Name);
    }

    [Fact]
    public void WholeFile_WriterFails_OldContentStaysAndNothingElse()
    {
        WholeFile.WriteText(At("a.json"), "old");
        Assert.Throws<InvalidOperationException>(() => WholeFile.Write(At("a.json"), stream =>
        {
            stream.WriteByte(1);
            throw new InvalidOperationException();
        }));
        Assert.Equal("old", File.ReadAllText(At("a.json")));
        Assert.Equal([At("a.json")], Directory.GetFiles(_folder));
        var error = Assert.Throws<UserErrorException>(() => WholeFile.WriteText(At("a.json/b.json"), "x"));
        Assert.Contains("a.json is a file, not a folder", error.Message);
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
    }

    private static FeatureSet Awkward() =>
        new(["=cmd()", "a,\"b\"", "ünïcödé \n ✓"], [1, -2, 0.1f, 3e20f, 0, 5], [0, -1, 2], ["x", "y", "z"]);

    private static void AssertSame(FeatureSet expected, FeatureSet actual)
    {
        Assert.Equal(expected.Ids, actual.Ids);
        Assert.Equal(expected.Values, actual.Values);
        Assert.Equal(expected.Labels, actual.Labels);
        Assert.Equal(expected.ClassOf(0), actual.ClassOf(0));
        Assert.Equal(expected.ClassOf(2), actual.ClassOf(2));
    }

    private static void AssertBad(Action action, string why)
    {
        var error = Assert.Throws<UserErrorException>(action);
        Assert.Contains(why, error.Message);
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
    }

    private static byte[] Bytes<T>(string header, Func<T, byte[]> convert, params T[] values) =>
    [
        0x93,.. "NUMPY"u8, 1, 0,.. BitConverter.GetBytes((ushort)118),.. Encoding.ASCII.GetBytes(header.PadRight(117) + "\n"),
        .. values.SelectMany(convert),
    ];

    private string At(string name) => Path.Combine(_folder, name);
}
