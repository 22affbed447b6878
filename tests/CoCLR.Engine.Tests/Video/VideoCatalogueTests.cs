// Why this exists: labels, splits and source groups come from here; a wrong one spoils every number that follows without a trace.
using System.Text;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Video.Catalogue;

namespace CoCLR.Engine.Tests.Video;

public sealed class VideoCatalogueTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void ClassFolders_WithoutLists_AreSplitByGroup()
    {
        for (var group = 1; group <= 10; group++)
        {
            for (var clip = 1; clip <= 3; clip++)
            {
                Touch($"Archery/v_Archery_g{group:D2}_c{clip:D2}.avi", $"Punch/v_Punch_g{group:D2}_c{clip:D2}.avi");
            }
        }

        Touch("Archery/notes.docx", ".hidden/x.mp4");
        var catalogue = Open();
        Assert.Equal(DatasetLayout.ClassFolders, catalogue.Layout);
        Assert.Equal(["Archery", "Punch"], catalogue.Classes);
        Assert.Equal(60, catalogue.Videos.Count);
        Assert.Equal(20, catalogue.Groups);
        Assert.Equal(12, catalogue.Videos.Count(video => video.Split == VideoSplit.Test));
        Assert.All(catalogue.Videos.GroupBy(video => video.Group), group =>
        {
            Assert.Single(group.Select(video => video.Split).Distinct());
            Assert.Single(group.Select(video => video.Label).Distinct());
            Assert.Equal(3, group.Count());
        });
        Assert.Equal(catalogue.Videos, Open().Videos);
    }

    [Fact]
    public void ClassFolders_BelowTrainAndTest_AreSplitByFolder()
    {
        Touch("train/walk/a.mp4", "train/run/b.mp4", "val/walk/c.mp4", "test/run/d.mp4");
        var catalogue = Open();
        Assert.Equal(["run", "walk"], catalogue.Classes);
        Assert.Equal(
            ["test/run/d.mp4 Test 0", "train/run/b.mp4 Train 0", "train/walk/a.mp4 Train 1", "val/walk/c.mp4 Validation 1"],
            catalogue.Videos.Select(video => $"{video.Id} {video.Split} {video.Label}"));
    }

    [Fact]
    public void FlatFolder_HasNoLabels()
    {
        Touch("a b.mp4", "-c.mp4", "d'\"e.mp4", "f\ng.mp4", "日本.mkv");
        var catalogue = Open();
        Assert.False(catalogue.HasLabels);
        Assert.Empty(catalogue.Classes);
        Assert.Equal(5, catalogue.Videos.Count);
        Assert.All(catalogue.Videos, video => Assert.Equal((-1, null), (video.Label, video.Class)));
    }

    [Fact]
    public void ClassWithOneVideo_IsTraining()
    {
        Touch("run/a.mp4", "walk/b.mp4", "walk/c.mp4");
        Assert.Equal(VideoSplit.Train, Open().Videos.Single(video => video.Class == "run").Split);
    }

    [Fact]
    public void Ucf101_Lists_GiveLabelsSplitsAndGroups()
    {
        WriteUcf101();
        var first = Open();
        Assert.Equal(DatasetLayout.Ucf101, first.Layout);
        Assert.Equal(["Archery", "Zumba", "Baby"], first.Classes);
        Assert.Equal(2, first.Videos.Single(video => video.Id == "Baby/v_Baby_g01_c01.mp4").Label);
        Assert.Equal(VideoSplit.Test, first.Videos.Single(video => video.Id.StartsWith("Zumba", StringComparison.Ordinal)).Split);
        Assert.Equal(first.Videos[0].Group, first.Videos[1].Group);
        Assert.Equal(3, first.Groups);
        Assert.Contains("1 videos", Assert.Single(first.Notes), StringComparison.Ordinal);

        var clean = Open(new CatalogueOptions { Root = _folder.Path, TrainList = "trainlist01_clean.txt" });
        Assert.Equal(3, clean.Videos.Count);
        Assert.Contains(clean.Videos, video => video.Split == VideoSplit.Test);

        var second = Open(new CatalogueOptions { Root = _folder.Path, Split = 2 });
        Assert.Equal(VideoSplit.Train, second.Videos.Single(video => video.Id.StartsWith("Zumba", StringComparison.Ordinal)).Split);
    }

    [Fact]
    public void Ucf101_ListedButMissing_IsKeptAsMissing()
    {
        WriteUcf101();
        Write("trainlist01.txt", "Archery/v_Archery_g01_c01.avi 1\nArchery/v_Archery_g09_c01.avi 1\n");
        var missing = Open().Videos.Single(video => video.Problem is not null);
        Assert.Equal("Archery/v_Archery_g09_c01.avi", missing.Id);
        Assert.EndsWith("trainlist01.txt, line 2", missing.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void Ucf101_NameInAnotherFolder_IsAnotherVideo()
    {
        Touch("videos/Archery/a.mp4", "videos/Zumba/b.mp4");
        Write("trainlist01.txt", "Archery/a.avi 1\nArchery/b.avi 1\n");
        Write("testlist01.txt", "Zumba/b.avi\n");
        var catalogue = Open();
        Assert.Equal(["Archery/b.avi"], catalogue.Videos.Where(video => video.Problem is not null).Select(video => video.Id));
        Assert.Equal(["Archery", "Zumba"], catalogue.Videos.Where(video => video.Problem is null).Select(video => video.Class));
    }

    [Fact]
    public void Hmdb51_SplitFiles_GiveLabelsAndSplits()
    {
        Touch(
            "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
            "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_1.avi",
            "brush_hair/Other_brush_hair_f_cm_np2_fr_med_0.avi",
            "wave/x_wave_f_cm_np1_fr_bad_0.avi");
        Write("splits/brush_hair_test_split1.txt", "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 "
            + "\nApril_09_brush_hair_u_nm_np1_ba_goo_1.avi 0 \nOther_brush_hair_f_cm_np2_fr_med_0.avi 2 \n");
        Write("splits/wave_test_split1.txt", "x_wave_f_cm_np1_fr_bad_0.avi 1\n");
        Write("splits/wave_test_split2.txt", "x_wave_f_cm_np1_fr_bad_0.avi 2\n");
        var catalogue = Open();
        Assert.Equal(DatasetLayout.Hmdb51, catalogue.Layout);
        Assert.Equal(["brush_hair", "wave"], catalogue.Classes);
        Assert.Equal([VideoSplit.Train, VideoSplit.Test, VideoSplit.Train], catalogue.Videos.Select(video => video.Split));
        Assert.Equal(3, catalogue.Groups);
    }

    [Fact]
    public void Kinetics_Csv_FindsClipsByIdAndSkipsThoseThatAreGone()
    {
        Touch("train/air drumming/0wR5jVB-WPk_000417_000427.mp4", "val/zumba/zzzzzzzzzzz_000001_000011.mp4");
        Write(
            "train.csv",
            "label,youtube_id,time_start,time_end,split\n\"air drumming\",0wR5jVB-WPk,417,427,train\nzumba,gone4567890,3,13,train\n");
        Write("val.csv", "label,youtube_id,time_start,time_end,split\nzumba,zzzzzzzzzzz,1,11,validate\n");
        var catalogue = Open();
        Assert.Equal(DatasetLayout.Kinetics, catalogue.Layout);
        Assert.Equal([VideoSplit.Train, VideoSplit.Test], catalogue.Videos.Select(video => video.Split));
        Assert.Equal(["air drumming", "zumba"], catalogue.Videos.Select(video => video.Class));
        Assert.Contains("1 of 3", catalogue.Notes[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Manifest_Csv_GivesEverythingItNames()
    {
        Touch("a, b.mp4", "c\nd.mp4", "e.mp4", "sub/f.mp4", "unlisted.mp4");
        Write("manifest.csv", "\uFEFFpath,label,split,group\r\n\"a, "
            + "b.mp4\",walk,train,1\r\n\"c\nd.mp4\",walk,train,1\r\ne.mp4,run,test,1\r\nsub/f.mp4,,train,\r\n");
        var catalogue = Open();
        Assert.Equal(DatasetLayout.Manifest, catalogue.Layout);
        Assert.Equal(4, catalogue.Videos.Count);
        Assert.False(catalogue.HasLabels);
        var byId = catalogue.Videos.ToDictionary(video => video.Id);
        Assert.Equal(byId["a, b.mp4"].Group, byId["c\nd.mp4"].Group);
        Assert.NotEqual(byId["a, b.mp4"].Group, byId["e.mp4"].Group);
        Assert.Equal(-1, byId["sub/f.mp4"].Label);
        Assert.Equal(VideoSplit.Test, byId["e.mp4"].Split);
    }

    [Fact]
    public void Manifest_WithoutSplit_HoldsOutWholeGroups()
    {
        var csv = new StringBuilder("path,label,group\n");
        for (var i = 0; i < 60; i++)
        {
            Touch($"v{i}.mp4");
            csv.Append(null, $"v{i}.mp4,{i % 3},person{i % 10}\n");
        }

        Write("manifest.csv", csv.ToString());
        var catalogue = Open();
        Assert.Equal(["0", "1", "2"], catalogue.Classes);
        var sides = catalogue.Videos.GroupBy(video => int.Parse(video.Id[1..^4]) % 10).ToList();
        Assert.All(sides, person => Assert.Single(person.Select(video => video.Split).Distinct()));
        Assert.InRange(sides.Count(person => person.First().Split == VideoSplit.Test), 1, 5);
    }

    public static TheoryData<string, string, string, int, string> BadLists => new()
    {
        { "classInd.txt", "1 Archery\ntwo Zumba\n", "trainlist01.txt", 65, "classInd.txt, line 2" },
        { "classInd.txt", "1 Archery\n1 Zumba\n", "trainlist01.txt", 65, "given twice" },
        { "trainlist01.txt", "Archery/v_Archery_g01_c01.mp4 7\n", "trainlist01.txt", 65, "line 1: label 7" },
        { "trainlist01.txt", "Archery/v_Archery_g01_c01.mp4 2\n", "trainlist01.txt", 65, "folder Archery" },
        { "trainlist01.txt", "\n../../etc/passwd 1\n", "trainlist01.txt", 65, "line 2" },
        { "trainlist01.txt", "/etc/passwd 1\n", "trainlist01.txt", 65, "line 1" },
        { "trainlist01.txt", "Zumba/v_Zumba_g02_c01.mp4 2\n", "trainlist01.txt", 65, "testlist01.txt, line 1" },
        { "trainlist01.txt", "  \n", "trainlist01.txt", 65, "is empty" },
        { "trainlist01.txt", "Nobody/v.mp4 1\n", "nothere.txt", 66, "nothere.txt" },
        { "m.csv", "file,label\na.mp4,1\n", "m.csv", 65, "column path is missing" },
        { "m.csv", "path,label,label\na.mp4,1,2\n", "m.csv", 65, "twice" },
        { "m.csv", "path,label\na.mp4,1,2\n", "m.csv", 65, "line 2" },
        { "m.csv", "path,split\na.mp4,trian\n", "m.csv", 65, "trian" },
        { "m.csv", "path,label\n,1\n", "m.csv", 65, "line 2: the field path is empty" },
        { "m.csv", "path,label\na\"b.mp4,1\n", "m.csv", 65, "quote" },
        { "m.csv", "path,label\n", "m.csv", 65, "names no videos" },
        { "m.csv", "", "m.csv", 65, "is empty" },
    };

    [Theory]
    [MemberData(nameof(BadLists))]
    public void Open_BadList_NamesFileAndLine(string file, string content, string trainList, int exitCode, string expected)
    {
        WriteUcf101();
        Write(file, content);
        var error = Assert.Throws<UserErrorException>(() => Open(new CatalogueOptions { Root = _folder.Path, TrainList = trainList }));
        Assert.Equal(exitCode, error.ExitCode);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Theory]
    [InlineData(DatasetLayout.Ucf101, "trainlist01.txt")]
    [InlineData(DatasetLayout.Hmdb51, "CLASS_test_split1.txt")]
    [InlineData(DatasetLayout.Kinetics, "youtube_id")]
    [InlineData(DatasetLayout.Manifest, "manifest.csv")]
    public void Open_LayoutWithoutItsLists_SaysWhatIsExpected(DatasetLayout layout, string expected)
    {
        Touch("a/b.mp4");
        var error = Assert.Throws<UserErrorException>(() => Open(new CatalogueOptions { Root = _folder.Path, Layout = layout }));
        Assert.Equal(ExitCodes.MissingInput, error.ExitCode);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_MissingEmptyOrFile_IsMissingInput()
    {
        Directory.CreateDirectory(_folder.File("empty", "deeper"));
        Write("file", "x");
        foreach (var path in new[] { "nowhere", "empty", "file" })
        {
            var error = Assert.Throws<UserErrorException>(() => Open(new CatalogueOptions { Root = _folder.File(path) }));
            Assert.Equal(ExitCodes.MissingInput, error.ExitCode);
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Open_LinkToItsOwnParent_Ends()
    {
        Touch("walk/a.mp4");
        Directory.CreateSymbolicLink(_folder.File("walk", "loop"), _folder.Path);
        Assert.Single(Open().Videos);
    }

    [Fact]
    public void Open_LinkToAFolderAbove_AddsNothing_AndIsTold()
    {
        Touch("videos/walk/a.mp4", "videos/run/b.mp4", "other/c.mp4");
        Directory.CreateSymbolicLink(_folder.File("videos", "walk", "up"), _folder.Path);
        Directory.CreateSymbolicLink(_folder.File("videos", "again"), _folder.File("videos", "run"));
        var catalogue = Open(new CatalogueOptions { Root = _folder.File("videos") });
        Assert.Equal(["run/b.mp4", "walk/a.mp4"], catalogue.Videos.Select(video => video.Id));
        Assert.Contains(catalogue.Notes, note => note.Contains("walk/up is a link", StringComparison.Ordinal));
    }

    [Fact]
    public void Open_OneFileByTwoWays_IsOneVideo_AlsoForLists()
    {
        Touch("pool/x/a.mp4", "data/walk/b.mp4", "data/walk/c.mp4");
        File.CreateSymbolicLink(_folder.File("data", "walk", "b2.mp4"), _folder.File("data", "walk", "b.mp4"));
        CoCLR.Runs.WholeFile.Link(_folder.File("data", "walk", "c.mp4"), _folder.File("data", "walk", "c2.mp4"));
        Directory.CreateSymbolicLink(_folder.File("data", "x"), _folder.File("pool", "x"));
        Directory.CreateSymbolicLink(_folder.File("data", "y"), _folder.File("pool", "x"));
        var root = _folder.File("data");
        var catalogue = Open(new CatalogueOptions { Root = root });
        Assert.Equal(["walk/b.mp4", "walk/c.mp4", "x/a.mp4"], catalogue.Videos.Select(video => video.Id));
        Assert.Contains(catalogue.Notes, note => note.Contains("walk/b2.mp4 is walk/b.mp4", StringComparison.Ordinal));

        File.WriteAllText(_folder.File("data", "manifest.csv"), "path,label,split\nwalk/b2.mp4,walk,train\ny/a.mp4,x,test\n");
        catalogue = Open(new CatalogueOptions { Root = root });
        Assert.Equal(["walk/b.mp4 Train", "x/a.mp4 Test"], catalogue.Videos.Select(video => $"{video.Id} {video.Split}"));
        File.WriteAllText(_folder.File("data", "manifest.csv"), "path,label,split\nwalk/b2.mp4,walk,train\nwalk/b.mp4,walk,test\n");
        Assert.Contains(
            "one side only",
            Assert.Throws<UserErrorException>(() => Open(new CatalogueOptions { Root = root })).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Open_OneFileInTwoSplits_IsRefused()
    {
        Touch("train/walk/a.mp4", "test/run/b.mp4");
        CoCLR.Runs.WholeFile.Link(_folder.File("train", "walk", "a.mp4"), _folder.File("test", "run", "a.mp4"));
        var error = Assert.Throws<UserErrorException>(() => Open());
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
        Assert.Contains("one side only", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_GroupOnBothSides_IsAWarning()
    {
        Touch("train/walk/v_Walk_g01_c01.mp4", "test/walk/v_Walk_g01_c02.mp4", "test/walk/v_Walk_g02_c01.mp4");
        Assert.Contains("1 source group has videos on both sides", Assert.Single(Open().Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Open_SplitThatTheLayoutHasNot_IsRefused()
    {
        Touch("walk/a.mp4", "run/b.mp4");
        var error = Assert.Throws<UserErrorException>(() => Open(new CatalogueOptions { Root = _folder.Path, Split = 99 }));
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
        Assert.Contains("no split 99", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("636166e92e6d7034", "caf\\351.mp4")]
    [InlineData("e697a5ff41", "\u65e5\\377A")]
    [InlineData("636166c3a92e6d7034", null)]
    public void RawNames_AreShownAsLsShowsThem(string bytes, string? shown) =>
        Assert.Equal(shown, RawNames.Escape(Convert.FromHexString(bytes)));

    [Fact]
    public void Open_AnyBytesAsLists_EndsInACatalogueOrAUserError()
    {
        WriteUcf101();
        var random = new CounterRandom(3, CounterRandom.Purpose("lists"));
        string[] seeds =
        [
            "1 Archery\n2 Zumba\n3 Baby\n", "Archery/v_Archery_g01_c01.avi 1\nBaby/v_Baby_g01_c01.avi 3\n",
            "path,label,split,group\n\"a, b.mp4\",walk,train,1\nArchery/v_Archery_g01_c01.mp4,run,test,2\n",
            "label,youtube_id,time_start,time_end,split\nx,0wR5jVB-WPk,417,427,train\n",
        ];
        string[] names = ["classInd.txt", "trainlist01.txt", "testlist01.txt", "manifest.csv", "kinetics.csv", "Baby_test_split1.txt"];
        const string Alphabet = "\0\"\",,;\n\r\t /..\\\u00e901789abAZ\uFFFD\uD83D";
        var outcomes = new Dictionary<bool, int>();
        for (var round = 0; round < 400; round++)
        {
            var text = new StringBuilder(seeds[random.NextInt(seeds.Length)]);
            for (var edits = random.NextInt(6); edits > 0; edits--)
            {
                var at = random.NextInt(text.Length);
                switch (random.NextInt(3))
                {
                    case 0:
                        text.Remove(at, Math.Min(1 + random.NextInt(5), text.Length - at - 1));
                        break;
                    case 1:
                        text.Insert(at, Alphabet[random.NextInt(Alphabet.Length)]);
                        break;
                    default:
                        text[at] = Alphabet[random.NextInt(Alphabet.Length)];
                        break;
                }
            }

            var bytes = Encoding.UTF8.GetBytes(text.ToString());
            if (random.Bernoulli(0.1) && bytes.Length > 0)
            {
                bytes[random.NextInt(bytes.Length)] = 0xFF;
            }

            var name = names[random.NextInt(names.Length)];
            File.WriteAllBytes(_folder.File(name), bytes);
            var options = new CatalogueOptions { Root = _folder.Path, Layout = (DatasetLayout)random.NextInt(6) };
            bool good;
            try
            {
                var catalogue = Open(options);
                good = true;
                Assert.NotEmpty(catalogue.Videos);
                Assert.All(catalogue.Videos, video =>
                {
                    Assert.StartsWith(_folder.Path + "/", Path.GetFullPath(video.Path), StringComparison.Ordinal);
                    Assert.InRange(video.Label, -1, catalogue.Classes.Count - 1);
                    Assert.NotEqual(VideoSplit.None, video.Split);
                });
            }
            catch (UserErrorException error)
            {
                good = false;
                Assert.True(ExitCodes.IsPermanent(error.ExitCode));
            }

            outcomes[good] = outcomes.GetValueOrDefault(good) + 1;
            WriteUcf101();
        }

        Assert.True(outcomes[true] > 20 && outcomes[false] > 20, "the fuzz must reach both outcomes");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Weizmann_Folds_AreByPerson(int fold)
    {
        var catalogue = Open(new CatalogueOptions { Root = RealData.Folder("weizmann"), Split = fold });
        Assert.Equal(60, catalogue.Videos.Count(video => video.Split == VideoSplit.Train));
        Assert.Equal(30, catalogue.Videos.Count(video => video.Split == VideoSplit.Test));
        Assert.Equal(10, catalogue.Classes.Count);
        Assert.Equal("bend", catalogue.Classes[0]);
        Assert.All(catalogue.Videos, video => Assert.Null(video.Problem));
        static string Person(CatalogueVideo video) => Path.GetFileName(video.Id).Split('_')[0];
        Assert.Empty(catalogue.Videos.Where(video => video.Split == VideoSplit.Train).Select(Person)
            .Intersect(catalogue.Videos.Where(video => video.Split == VideoSplit.Test).Select(Person)));
    }

    [Fact]
    public void Ucf101Eleven_CleanList_HasItsCounts()
    {
        var catalogue = Open(new CatalogueOptions { Root = RealData.Folder("ucf101-11"), TrainList = "trainlist01_clean.txt" });
        Assert.Equal(1021, catalogue.Videos.Count(video => video.Split == VideoSplit.Train));
        Assert.Equal(410, catalogue.Videos.Count(video => video.Split == VideoSplit.Test));
        Assert.Equal(11, catalogue.Classes.Count);
        Assert.Empty(catalogue.Videos.Where(video => video.Split == VideoSplit.Train).Select(video => video.Group)
            .Intersect(catalogue.Videos.Where(video => video.Split == VideoSplit.Test).Select(video => video.Group)));
    }

    private VideoCatalogue Open(CatalogueOptions? options = null) =>
        VideoCatalogue.Open(options ?? new CatalogueOptions { Root = _folder.Path });

    private void Touch(params string[] files)
    {
        foreach (var file in files)
        {
            Write(file, "");
        }
    }

    private void Write(string file, string content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_folder.File(file))!);
        File.WriteAllText(_folder.File(file), content);
    }

    private void WriteUcf101()
    {
        foreach (var list in Directory.EnumerateFiles(_folder.Path))
        {
            File.Delete(list);
        }

        Touch(
            "Archery/v_Archery_g01_c01.mp4",
            "Archery/v_Archery_g01_c02.mp4",
            "Baby/v_Baby_g01_c01.mp4",
            "Zumba/v_Zumba_g02_c01.mp4",
            "Zumba/v_Zumba_g03_c01.mp4");
        Write("classInd.txt", "1 Archery\r\n2 Zumba\r\n3 Baby\r\n");
        Write("trainlist01.txt", "Archery/v_Archery_g01_c01.avi 1\r\nArchery/v_Archery_g01_c02.avi 1\r\nBaby/v_Baby_g01_c01.avi 3\r\n");
        Write("trainlist01_clean.txt", "Archery/v_Archery_g01_c01.mp4 1\nBaby/v_Baby_g01_c01.mp4 3\n");
        Write("testlist01.txt", "Zumba/v_Zumba_g02_c01.mp4\n");
        Write("trainlist02.txt", "Zumba/v_Zumba_g02_c01.mp4 2\n");
        Write("testlist02.txt", "Archery/v_Archery_g01_c01.mp4\n");
    }
}
