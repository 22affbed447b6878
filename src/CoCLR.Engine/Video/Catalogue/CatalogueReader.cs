// Why this exists: reads the list formats of the known data sets; every complaint names the file and the line.
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CsvHelper;
using CsvHelper.Configuration;

namespace CoCLR.Engine.Video.Catalogue;

internal sealed partial class CatalogueReader
{
    private readonly DataFolder _folder;
    private readonly CatalogueOptions _options;
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly List<string> _notes = [];
    private List<string>? _classOrder;

    private CatalogueReader(DataFolder folder, CatalogueOptions options)
    {
        _folder = folder;
        _options = options;
    }

    public static VideoCatalogue Read(DataFolder folder, CatalogueOptions options) => new CatalogueReader(folder, options).Read();

    private VideoCatalogue Read()
    {
        _notes.AddRange(_folder.Notes);
        var layout = _options.Layout == DatasetLayout.Auto ? Detect() : _options.Layout;
        if (_options.Split != 1 && layout is not (DatasetLayout.Ucf101 or DatasetLayout.Hmdb51))
        {
            throw new UserErrorException(
                $"dataset.split: there is no split {_options.Split} of {_folder.Root}: only the layouts UCF101 and HMDB51 number their "
                    + $"splits, and this is {layout}. Leave it out.",
                ExitCodes.BadConfiguration);
        }

        switch (layout)
        {
            case DatasetLayout.Ucf101:
                ReadUcf101();
                break;
            case DatasetLayout.Hmdb51:
                ReadHmdb51();
                break;
            case DatasetLayout.Kinetics:
                ReadKinetics();
                break;
            case DatasetLayout.Manifest:
                ReadManifest();
                break;
            default:
                ReadClassFolders();
                break;
        }

        if (_entries.Count == 0)
        {
            throw new UserErrorException(
                $"There are no videos in {_folder.Root}. Put video files there (mp4, avi, mkv, webm, mov ...), in one folder a class when "
                    + $"they have labels.",
                ExitCodes.MissingInput);
        }

        SplitByGroup();
        return Build(layout);
    }

    private DatasetLayout Detect()
    {
        if (_options.TrainList is { } list)
        {
            return !list.EndsWith(".csv", StringComparison.OrdinalIgnoreCase) ? DatasetLayout.Ucf101
                : IsKinetics(list) ? DatasetLayout.Kinetics
                : DatasetLayout.Manifest;
        }

        if (_folder.Lists.Contains("manifest.csv"))
        {
            return DatasetLayout.Manifest;
        }

        if (_folder.Lists.Any(id => TrainListName().IsMatch(Path.GetFileName(id))))
        {
            return DatasetLayout.Ucf101;
        }

        if (_folder.Lists.Any(id => Hmdb51ListName().IsMatch(Path.GetFileName(id))))
        {
            return DatasetLayout.Hmdb51;
        }

        return _folder.Lists.Any(id => id.EndsWith(".csv", StringComparison.OrdinalIgnoreCase) && IsKinetics(id))
            ? DatasetLayout.Kinetics
            : DatasetLayout.ClassFolders;
    }

    // ---- One folder a class, perhaps below train/ and test/.
    private void ReadClassFolders()
    {
        if (_options.TrainList is not null || _options.TestList is not null)
        {
            throw new UserErrorException(
                "dataset.trainList and dataset.testList do not go with layout ClassFolders: use UCF101 (lines of a path and a label) or "
                    + "Manifest (CSV).",
                ExitCodes.BadConfiguration);
        }

        foreach (var id in _folder.Videos.Keys)
        {
            Add(id, Placed(id));
        }

        foreach (var (alias, kept) in _folder.Aliases)
        {
            if ((Placed(alias) with { Problem = null }) != _entries[kept])
            {
                throw new UserErrorException(
                    $"{_folder.FullPath(alias)} and {_folder.FullPath(kept)} are one file, in two classes or splits: a video can be on one "
                        + $"side only. Remove one of the links.",
                    ExitCodes.BadData);
            }
        }

        foreach (var id in _folder.Unnameable.Where(VideoCatalogue.IsVideoName))
        {
            Add(id, Placed(id) with { Problem = "its name is not UTF-8 (shown as ls -b shows it): rename the file" });
        }

        static Entry Placed(string id)
        {
            var parts = id.Split('/');
            var split = parts.Length > 1 ? SplitFolder(parts[0]) : VideoSplit.None;
            var first = split == VideoSplit.None ? 0 : 1;
            return new Entry { Class = parts.Length > first + 1 ? parts[first] : null, Split = split };
        }
    }

    private static VideoSplit SplitFolder(string name) => name.ToLowerInvariant() switch
    {
        "train" or "training" => VideoSplit.Train,
        "val" or "valid" or "validate" or "validation" => VideoSplit.Validation,
        "test" or "testing" => VideoSplit.Test,
        _ => VideoSplit.None,
    };

    // ---- classInd.txt ("1 ApplyEyeMakeup"), trainlist01.txt ("Class/clip.avi 1"), testlist01.txt ("Class/clip.avi").
    private void ReadUcf101()
    {
        var number = _options.Split;
        var trainList = _options.TrainList ?? FindList($"trainlist{number:D2}.txt", "dataset.split");
        var match = ListNumber().Match(Path.GetFileNameWithoutExtension(trainList));
        var testName = $"testlist{(match.Success ? match.Value : number.ToString("D2", CultureInfo.InvariantCulture))}.txt";
        var testList = _options.TestList
            ?? (
                _options.TrainList is null
                    ? FindList(testName, "dataset.split")
                    : _folder.Lists.Find(id => Path.GetFileName(id) == testName));
        var classes = ReadClassIndex();
        ReadUcf101List(trainList, VideoSplit.Train, classes);
        if (testList is not null)
        {
            ReadUcf101List(testList, VideoSplit.Test, classes);
        }

        if (classes.Count > 0)
        {
            _classOrder = [.. classes.OrderBy(pair => pair.Key).Select(pair => pair.Value)];
        }

        NoteUnlisted();
    }

    private SortedDictionary<int, string> ReadClassIndex()
    {
        var classes = new SortedDictionary<int, string>();
        var id = _folder.Lists.Find(list => Path.GetFileName(list).Equals("classInd.txt", StringComparison.OrdinalIgnoreCase));
        if (id is null)
        {
            return classes;
        }

        foreach (var (line, text) in ReadLines(id))
        {
            var parts = text.Split([' ', '\t'], 2, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            if (parts.Length != 2 || !TryNumber(parts[0], out var label))
            {
                throw Bad(id, line, $"expected a number and a class name such as \"1 ApplyEyeMakeup\", found \"{Shorten(text)}\"");
            }

            if (classes.ContainsValue(parts[1]))
            {
                throw Bad(id, line, $"the class {Shorten(parts[1])} is given twice");
            }

            if (!classes.TryAdd(label, parts[1]))
            {
                throw Bad(id, line, $"class number {label} is given twice");
            }
        }

        return classes;
    }

    private void ReadUcf101List(string id, VideoSplit split, SortedDictionary<int, string> classes)
    {
        var any = false;
        foreach (var (line, text) in ReadLines(id))
        {
            any = true;
            var (path, label) = SplitLabel(text);
            var folder = path.Split('/') is { Length: > 1 } parts ? parts[^2] : null;
            var name = folder;
            if (label is { } number)
            {
                if (classes.Count > 0 && !classes.TryGetValue(number, out name))
                {
                    throw Bad(id, line, $"label {number} is not in classInd.txt (1 to {classes.Keys.Last()})");
                }

                if (folder is not null && name != folder && classes.ContainsValue(folder))
                {
                    throw Bad(id, line, $"label {number} is {name}, but the video is in the folder {folder}");
                }

                name ??= number.ToString(CultureInfo.InvariantCulture);
            }

            if (name is not null && classes.Count > 0 && !classes.ContainsValue(name))
            {
                throw Bad(id, line, $"the class {Shorten(name)} is not in classInd.txt");
            }

            AddListed(id, line, path, new Entry { Class = name, Split = split });
        }

        if (!any)
        {
            throw new UserErrorException($"{_folder.FullPath(id)} is empty: it must name one video a line.", ExitCodes.BadData);
        }
    }

    // The label is the last word of a line, unless the whole line is the name of a file that is there.
    private (string Path, int? Label) SplitLabel(string text)
    {
        var blank = text.LastIndexOfAny([' ', '\t']);
        return blank > 0 && TryNumber(text[(blank + 1)..], out var label) && _folder.Resolve(text) is null
            ? (text[..blank].TrimEnd(), label)
            : (text, null);
    }

    // ---- brush_hair_test_split1.txt: "clip.avi 1" (1 training, 2 test, 0 unused).
    private void ReadHmdb51()
    {
        if (_options.TrainList is not null || _options.TestList is not null)
        {
            throw new UserErrorException(
                "dataset.trainList and dataset.testList do not go with layout HMDB51: choose a split with dataset.split.",
                ExitCodes.BadConfiguration);
        }

        var lists = _folder.Lists.Where(id => Hmdb51ListName().IsMatch(Path.GetFileName(id))).ToList();
        var chosen = lists.Where(id => Hmdb51ListName().Match(Path.GetFileName(id)).Groups[2].Value == $"{_options.Split}").ToList();
        if (chosen.Count == 0)
        {
            throw new UserErrorException(
                $"There are no lists CLASS_test_split{_options.Split}.txt in {_folder.Root} (dataset.split: {_options.Split})."
                    + (lists.Count > 0 ? " Other splits are there." : " Unpack the split files of HMDB51 there."),
                ExitCodes.MissingInput);
        }

        foreach (var id in chosen)
        {
            var name = Hmdb51ListName().Match(Path.GetFileName(id)).Groups[1].Value;
            foreach (var (line, text) in ReadLines(id))
            {
                var (path, use) = SplitLabel(text);
                var split = use switch
                {
                    0 => VideoSplit.None,
                    1 => VideoSplit.Train,
                    2 => VideoSplit.Test,
                    _ => throw Bad(id, line, $"expected a video and 0, 1 or 2, found \"{Shorten(text)}\""),
                };
                if (split != VideoSplit.None)
                {
                    AddListed(id, line, $"{name}/{path}", new Entry { Class = name, Split = split });
                }
            }
        }

        NoteUnlisted();
    }

    // ---- label,youtube_id,time_start,time_end,split: videos that are gone from the net are normal.
    private void ReadKinetics()
    {
        var lists = _options.TrainList is { } given
            ? (_options.TestList is { } test ? [given, test] : new List<string> { given })
            : [.. _folder.Lists.Where(id => id.EndsWith(".csv", StringComparison.OrdinalIgnoreCase) && IsKinetics(id))];
        if (lists.Count == 0)
        {
            throw new UserErrorException(
                $"There is no Kinetics list in {_folder.Root}: a CSV file with the columns label, youtube_id, time_start, time_end, split.",
                ExitCodes.MissingInput);
        }

        var absent = 0;
        var listed = 0;
        foreach (var id in lists)
        {
            foreach (var row in ReadCsv(id, ["youtube_id"]))
            {
                listed++;
                var youtube = row.Required("youtube_id");
                var name = row.Optional("label");
                var split = row.Split("split");
                split = split == VideoSplit.None && _options.TestList == id ? VideoSplit.Test : split;
                var stem = int.TryParse(row.Optional("time_start"), CultureInfo.InvariantCulture, out var start)
                    && int.TryParse(row.Optional("time_end"), CultureInfo.InvariantCulture, out var end)
                        ? $"{youtube}_{start:D6}_{end:D6}"
                        : youtube;
                if ((_folder.Resolve(stem) ?? _folder.Resolve(youtube)) is not { } video)
                {
                    absent++;
                    continue;
                }

                Add(video, new Entry { Class = name, Split = split, Group = youtube, Where = $"{_folder.FullPath(id)}, line {row.Line}" });
            }
        }

        if (_entries.Count == 0)
        {
            throw new UserErrorException(
                $"None of the {listed} videos of {string.Join(", ", lists)} is in {_folder.Root}: expected names such as "
                    + $"CLASS/YOUTUBEID_000010_000020.mp4.",
                ExitCodes.MissingInput);
        }

        if (absent > 0)
        {
            _notes.Add($"{absent} of {listed} listed videos are not in the folder and are left out.");
        }

        NoteUnlisted();
    }

    // ---- manifest.csv: path, label, split, group; everything but the path is optional.
    private void ReadManifest()
    {
        var id = _options.TrainList ?? "manifest.csv";
        if (_options.TrainList is null && !_folder.Lists.Contains(id))
        {
            throw new UserErrorException(
                $"There is no manifest.csv in {_folder.Root}: write one with the columns path, label, split, group (only "
                    + $"path is required).",
                ExitCodes.MissingInput);
        }

        foreach (var list in _options.TestList is { } test ? new[] { id, test } : [id])
        {
            foreach (var row in ReadCsv(list, ["path"]))
            {
                var name = row.Optional("class") ?? row.Optional("label");
                var group = row.Optional("group");
                var split = row.Split("split");
                AddListed(list, row.Line, row.Required("path"), new Entry
                {
                    Class = name,
                    Split = split == VideoSplit.None && list == _options.TestList ? VideoSplit.Test : split,
                    // Many data sets number their groups from 1 in every class.
                    Group = group is null ? null : $"{name}/{group}",
                    SplitGroup = group,
                });
            }
        }

        NoteUnlisted();
    }

    // ---- Common parts.
    private void AddListed(string list, int line, string path, Entry entry)
    {
        var where = $"{_folder.FullPath(list)}, line {line}";
        if (path.Contains('\0', StringComparison.Ordinal) || _folder.Normalise(path) is not { } id)
        {
            throw Bad(list, line, $"\"{Shorten(path)}\" is not a path below the data folder");
        }

        var found = _folder.Resolve(id);
        Add(found ?? id, entry with { Where = where, Problem = found is null ? $"no such file; named by {where}" : null });
    }

    private void Add(string id, Entry entry)
    {
        if (!_entries.TryAdd(id, entry) && _entries[id] is { } earlier && (earlier.Split != entry.Split || earlier.Class != entry.Class))
        {
            throw new UserErrorException(
                $"{entry.Where}: {Shorten(id)} is listed before ({earlier.Where}) with another split or label. A video can be on "
                    + $"one side only.",
                ExitCodes.BadData);
        }
    }

    private void NoteUnlisted()
    {
        var unlisted = _folder.Videos.Keys.Count(id => !_entries.ContainsKey(id));
        if (unlisted > 0)
        {
            _notes.Add($"{unlisted} videos of the folder are in no list of this split and are left out.");
        }
    }

    // Where nothing says how to split, a share of the groups of each class is held out: the same ones every time.
    private void SplitByGroup()
    {
        if (_entries.Values.Any(entry => entry.Split == VideoSplit.Test))
        {
            FillMissing(VideoSplit.Train);
            return;
        }

        if (_entries.Values.Any(entry => entry.Split == VideoSplit.Validation))
        {
            foreach (var (id, entry) in _entries.Where(pair => pair.Value.Split == VideoSplit.Validation).ToList())
            {
                _entries[id] = entry with { Split = VideoSplit.Test };
            }

            FillMissing(VideoSplit.Train);
            return;
        }

        if (_entries.Values.Any(entry => entry.Split == VideoSplit.Train))
        {
            FillMissing(VideoSplit.Test);
            return;
        }

        // Groups are held out whole, over all classes, so that no recording is on both sides; a class gives its share as far as it can.
        var test = new HashSet<string>(StringComparer.Ordinal);
        foreach (var ofClass in _entries.GroupBy(pair => pair.Value.Class ?? "", StringComparer.Ordinal).OrderBy(group => group.Key, StringComparer.Ordinal))
        {
            var groups = ofClass.Select(pair => SplitKey(pair.Key, pair.Value)).Distinct(StringComparer.Ordinal).ToList();
            var wanted = groups.Count < 2 ? 0 : Math.Clamp((int)Math.Round(groups.Count * _options.TestFraction), 1, groups.Count - 1);
            var have = groups.Count(test.Contains);
            test.UnionWith(groups.Where(group => !test.Contains(group))
                .OrderBy(Order)
                .ThenBy(group => group, StringComparer.Ordinal)
                .Take(Math.Max(0, wanted - have)));
        }

        foreach (var (id, entry) in _entries.ToList())
        {
            _entries[id] = entry with { Split = test.Contains(SplitKey(id, entry)) ? VideoSplit.Test : VideoSplit.Train };
        }

        _notes.Add($"No list says how to split: {_options.TestFraction:0.##} of the source groups of each class are held out as test.");

        static ulong Order(string group) => System.IO.Hashing.XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(group));
    }

    private void FillMissing(VideoSplit split)
    {
        foreach (var (id, entry) in _entries.Where(pair => pair.Value.Split == VideoSplit.None).ToList())
        {
            _entries[id] = entry with { Split = split };
        }
    }

    private static string SplitKey(string id, Entry entry) => entry.SplitGroup ?? entry.Group ?? SourceGroups.FromName(id);

    private VideoCatalogue Build(DatasetLayout layout)
    {
        var classes = _classOrder
            ?? ClassOrder(_entries.Values.Select(entry => entry.Class).OfType<string>().Distinct(StringComparer.Ordinal));
        var labels = classes.Select((name, label) => (name, label))
            .ToDictionary(pair => pair.name, pair => pair.label, StringComparer.Ordinal);
        var groups = new Dictionary<string, int>(StringComparer.Ordinal);
        var videos = new List<CatalogueVideo>(_entries.Count);
        foreach (var (id, entry) in _entries.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            var key = entry.Group ?? SourceGroups.FromName(id);
            if (!groups.TryGetValue(key, out var group))
            {
                groups[key] = group = groups.Count;
            }

            var label = entry.Class is { } name && labels.TryGetValue(name, out var number) ? number : -1;
            videos.Add(new CatalogueVideo(id, _folder.FullPath(id), label, label < 0 ? null : entry.Class, entry.Split, group)
            {
                Problem = entry.Problem,
            });
        }

        return new VideoCatalogue(_folder.Root, layout, videos, classes, _notes) { Warnings = GroupsOnBothSides(videos) };
    }

    private static List<string> GroupsOnBothSides(List<CatalogueVideo> videos)
    {
        var torn = videos.GroupBy(video => video.Group)
            .Select(
                group => (
                    Train: group.FirstOrDefault(video => video.Split != VideoSplit.Test),
                    Test: group.FirstOrDefault(video => video.Split == VideoSplit.Test)))
            .Where(pair => pair is { Train: not null, Test: not null })
            .ToList();
        return torn.Count == 0 ? [] :
        [
            $"{torn.Count} source group{(torn.Count == 1 ? " has" : "s have")} videos on both sides of the split (for example "
                + $"{torn[0].Train!.Id} in training and {torn[0].Test!.Id} in test): "
                + "clips of one recording are nearly alike, so every measure is flattered.",
        ];
    }

    private static List<string> ClassOrder(IEnumerable<string> names)
    {
        var list = names.ToList();
        return list.TrueForAll(name => TryNumber(name, out _))
            ? [.. list.OrderBy(name => int.Parse(name, CultureInfo.InvariantCulture))]
            : [.. list.Order(StringComparer.Ordinal)];
    }

    private string FindList(string name, string field)
    {
        if (_folder.Lists.Find(id => Path.GetFileName(id) == name) is { } found)
        {
            return found;
        }

        var others = _folder.Lists.Where(id => TrainListName().IsMatch(Path.GetFileName(id))).Take(5).ToList();
        throw new UserErrorException(
            $"There is no {name} in {_folder.Root}. "
                + (others.Count > 0
                    ? $"Choose another {field}, or name one of {string.Join(", ", others)} as dataset.trainList."
                    : "Put the lists of the data set there, or choose another dataset.layout."),
            ExitCodes.MissingInput);
    }

    private IEnumerable<(int Line, string Text)> ReadLines(string id)
    {
        string[] lines;
        try
        {
            using var reader = new StreamReader(_folder.Open(id), Utf8);
            lines = reader.ReadToEnd().ReplaceLineEndings("\n").Split('\n');
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            throw Unreadable(id, error);
        }

        for (var i = 0; i < lines.Length; i++)
        {
            if (!string.IsNullOrWhiteSpace(lines[i]))
            {
                yield return (i + 1, lines[i].Trim());
            }
        }
    }

    private bool IsKinetics(string id)
    {
        try
        {
            using var reader = new StreamReader(_folder.Open(id));
            return reader.ReadLine()?.Split(',').Any(column => column.Trim().Trim('"') == "youtube_id") ?? false;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(id, error);
        }
    }

    private List<Row> ReadCsv(string id, string[] required)
    {
        var rows = new List<Row>();
        try
        {
            using var reader = new StreamReader(_folder.Open(id), Utf8);
            using var csv = new CsvParser(reader, new CsvConfiguration(CultureInfo.InvariantCulture)
            {
                TrimOptions = TrimOptions.Trim,
                BadDataFound = bad =>
                    throw Bad(id, bad.Context?.Parser?.RawRow ?? 1, "a quote (\") inside a field must be doubled and the field quoted"),
            });
            if (!csv.Read())
            {
                throw new UserErrorException($"{_folder.FullPath(id)} is empty: its first line must name the columns.", ExitCodes.BadData);
            }

            var header = csv.Record!;
            var columns = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
            for (var i = 0; i < header.Length; i++)
            {
                if (!columns.TryAdd(header[i], i) && header[i].Length > 0)
                {
                    throw Bad(id, 1, $"the column {Shorten(header[i])} is there twice");
                }
            }

            foreach (var name in required.Where(name => !columns.ContainsKey(name)))
            {
                throw Bad(id, 1, $"the column {name} is missing; found: {Shorten(string.Join(", ", columns.Keys))}");
            }

            while (csv.Read())
            {
                if (csv.Record!.Length > header.Length)
                {
                    throw Bad(
                        id,
                        csv.RawRow,
                        $"{csv.Record.Length} fields for {header.Length} columns: a field that holds a comma must be quoted");
                }

                rows.Add(new Row(this, id, csv.RawRow, columns, csv.Record));
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            throw Unreadable(id, error);
        }
        catch (CsvHelperException error)
        {
            throw error.InnerException as UserErrorException ?? Bad(id, 1, $"not a CSV file ({Shorten(error.Message)})");
        }

        if (rows.Count == 0)
        {
            throw new UserErrorException($"{_folder.FullPath(id)} names no videos.", ExitCodes.BadData);
        }

        return rows;
    }

    private UserErrorException Unreadable(string id, Exception error) => error switch
    {
        DecoderFallbackException => new UserErrorException($"{_folder.FullPath(id)} is not UTF-8 text.", ExitCodes.BadData, error),
        FileNotFoundException or DirectoryNotFoundException =>
            new UserErrorException($"There is no list {_folder.FullPath(id)}.", ExitCodes.MissingInput, error),
        _ => new UserErrorException($"{_folder.FullPath(id)} cannot be read: {error.Message}", ExitCodes.MissingInput, error),
    };

    private UserErrorException Bad(string id, int line, string what) =>
        new($"{_folder.FullPath(id)}, line {line}: {what}.", ExitCodes.BadData);

    private static readonly UTF8Encoding Utf8 = new(false, throwOnInvalidBytes: true);

    private static bool TryNumber(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);

    private static string Shorten(string text) => MessageText.OneLine(text, 120);

    [GeneratedRegex(@"^trainlist\d+\w*\.txt$")]
    private static partial Regex TrainListName();

    [GeneratedRegex(@"\d+")]
    private static partial Regex ListNumber();

    [GeneratedRegex(@"^(.+)_test_split(\d+)\.txt$")]
    private static partial Regex Hmdb51ListName();

    private sealed record Entry
    {
        public string? Class { get; init; }

        public VideoSplit Split { get; init; }

        public string? Group { get; init; }

        public string? SplitGroup { get; init; }

        public string Where { get; init; } = "";

        public string? Problem { get; init; }
    }

    private sealed record Row(CatalogueReader Reader, string List, int Line, Dictionary<string, int> Columns, string[] Fields)
    {
        public string? Optional(string column) =>
            Columns.TryGetValue(column, out var i) && i < Fields.Length && Fields[i].Length > 0 ? Fields[i] : null;

        public string Required(string column) => Optional(column) ?? throw Reader.Bad(List, Line, $"the field {column} is empty");

        public VideoSplit Split(string column) => Optional(column) is not { } text ? VideoSplit.None
            : SplitFolder(text) is var split && split != VideoSplit.None ? split
            : throw Reader.Bad(List, Line, $"split is \"{Shorten(text)}\": expected train, validate or test");
    }
}
