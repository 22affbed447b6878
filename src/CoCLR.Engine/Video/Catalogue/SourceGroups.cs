// Why this exists: clips cut from one recording are siblings: positives for one another in CoCLR and never on both sides of a split. The
// known data sets say so in their file names.
using System.Text.RegularExpressions;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>Names the recording that a clip was cut from (method.md 1a: video_source.json).</summary>
public static partial class SourceGroups
{
    /// <summary>The source of a clip by its file name: UCF101, HMDB51 and Kinetics forms; otherwise the clip itself.</summary>
    /// <param name="id">Path below the data folder.</param>
    public static string FromName(string id)
    {
        var name = Path.GetFileNameWithoutExtension(id);
        if (Ucf101().Match(name) is { Success: true } ucf)
        {
            return ucf.Groups[1].Value;
        }

        if (Hmdb51().Match(name) is { Success: true } hmdb)
        {
            return hmdb.Groups[1].Value;
        }

        return Kinetics().Match(name) is { Success: true } kinetics ? kinetics.Groups[1].Value : id;
    }

    // v_Basketball_g08_c03
    [GeneratedRegex(@"^(v_.+_g\d+)_c\d+$", RegexOptions.Singleline)]
    private static partial Regex Ucf101();

    // April_09_brush_hair_u_nm_np1_ba_goo_0: source and class, body part, camera, people, view, quality, number
    [GeneratedRegex(@"^(.+)_[fhlu]_(?:cm|nm)_np\d+_(?:ba|fr|le|ri)_(?:bad|goo|med)_\d+$", RegexOptions.Singleline)]
    private static partial Regex Hmdb51();

    // 0wR5jVB-WPk_000417_000427: YouTube id, start and end second
    [GeneratedRegex(@"^([\w-]{11})_\d{6}_\d{6}$", RegexOptions.Singleline)]
    private static partial Regex Kinetics();
}
