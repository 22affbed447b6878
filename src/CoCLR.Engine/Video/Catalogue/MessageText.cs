// Why this exists: file names and ffmpeg's output may hold line breaks and control characters; messages are one short line.
using System.Text;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>Makes other people's texts fit to be shown.</summary>
public static class MessageText
{
    /// <summary>A text in one line of a bounded length, without control characters.</summary>
    /// <param name="text">A file name or a tool's message.</param>
    /// <param name="longest">Letters after which it is cut off.</param>
    public static string OneLine(string text, int longest)
    {
        var line = new StringBuilder(Math.Min(text.Length, longest + 3));
        foreach (var letter in text)
        {
            if (line.Length >= longest)
            {
                line.Append("...");
                break;
            }

            line.Append(char.IsControl(letter) ? ' ' : letter);
        }

        return line.ToString().Trim();
    }
}
