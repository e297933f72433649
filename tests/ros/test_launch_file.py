"""The subset of launch files that runs without ROS 2's launch packages."""

from pathlib import Path

import pytest

from robostack.core.errors import BadValue, RobostackError, UnknownName
from robostack.ros import environment, launch_file

OURS = sorted((Path(__file__).parents[2] / "launch").glob("*.launch.xml"))


@pytest.fixture
def write(tmp_path):
    def write(body: str, name: str = "cell.launch.xml") -> Path:
        path = tmp_path / name
        path.write_text(f"<launch>\n{body}\n</launch>\n")
        return path

    return write


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_every_launch_file_of_ours_loads_and_finds_its_executables(path):
    nodes = launch_file.load(path, {})
    assert nodes
    for node in nodes:
        assert "__node:=" + node.name in node.command()


def test_mirror_hands_its_arguments_to_both_nodes():
    path = environment.mirror_launch_file()
    given = {"task": "reach", "lockstep": "true", "namespace": "left", "seed": "7"}
    guard, mirror = launch_file.load(path, given)
    assert (guard.name, guard.executable, guard.namespace) == ("guard", "guard", "/left")
    for node in (guard, mirror):
        assert 'task:="reach"' in node.settings and "lockstep:=true" in node.settings
        assert "__ns:=/left" in node.command()
    assert "seed:=7" in mirror.settings


def test_every_argument_says_what_it_is():
    for path in OURS:
        assert all(argument.description for argument in launch_file.arguments(path))


def test_parameters_keep_their_types(write):
    path = write("""
      <arg name="on" default="true"/>
      <node pkg="robostack" exec="guard" name="g">
        <param name="a" value="1"/> <param name="b" value="1" type="float"/> <param name="c" value="1" type="str"/>
        <param name="d" value="$(var on)" type="bool"/> <param name="e" value="fr3"/> <param name="f" value="True"/>
        <remap from="current_pose" to="/arm/pose"/>
        <param from="$(dirname)/x.yaml"/>
      </node>""")
    (node,) = launch_file.load(path, {})
    words = (
        "a:=1",
        "b:=1.0",
        'c:="1"',
        "d:=true",
        'e:="fr3"',
        "f:=true",
        "current_pose:=/arm/pose",
    )
    assert [word for word in node.settings if ":=" in word] == list(words)
    assert f"{path.parent}/x.yaml" in node.settings


def test_groups_conditions_and_includes(write):
    inner = write(
        '<arg name="who"/><node pkg="robostack" exec="guard" name="$(var who)"/>',
        "inner.launch.xml",
    )
    path = write(f"""
      <arg name="two" default="false"/>
      <group>
        <push_ros_namespace namespace="left"/>
        <include file="$(dirname)/{inner.name}"><arg name="who" value="a"/></include>
        <group><push-ros-namespace namespace="deep"/><node pkg="robostack" exec="guard" name="b"/></group>
      </group>
      <node pkg="robostack" exec="guard" name="c" if="$(var two)"/>
      <node pkg="robostack" exec="guard" name="d" unless="$(var two)" namespace="/abs"/>""")

    def places(**given):
        return [(node.namespace, node.name) for node in launch_file.load(path, given)]

    assert places() == [("/left", "a"), ("/left/deep", "b"), ("/abs", "d")]
    assert places(two="1") == [("/left", "a"), ("/left/deep", "b"), ("", "c")]


def test_environment_is_read_with_its_default(write, monkeypatch):
    path = write('<node pkg="robostack" exec="guard" name="$(env WHO nobody)"/>')
    monkeypatch.delenv("WHO", raising=False)
    assert launch_file.load(path, {})[0].name == "nobody"
    monkeypatch.setenv("WHO", "somebody")
    assert launch_file.load(path, {})[0].name == "somebody"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<executable cmd='ls'/>", 'no element "executable"'),
        ("<node pkg='robostack' exec='guard' respawn='true'/>", 'no attribute of <node> "respawn"'),
        ("<node pkg='robostack' exec='guard' name='$(eval 1+1)'/>", 'no substitution "eval 1\\+1"'),
        ("<node pkg='robostack' exec='guard' name='$(var x)'/>", 'no argument "x"'),
        ("<node pkg='robostack' name='x'/>", "<node> needs exec"),
        ("<node pkg='robostack' exec='guard' if='maybe'/>", "expected true, false, 1 or 0"),
        ("<include file='$(find-pkg-share nowhere)/x'/>", 'no package "nowhere"'),
        ("<group><node pkg='a'><group/></node></group>", 'no element "group"'),
        ("<arg name='x'/>", "argument x must be given"),
        ("<node pkg='robostack' exec='guard'><param name='x' value='a' type='int'/></node>", "expected int"),
    ],
)  # fmt: skip
def test_the_rest_is_refused_by_name_file_and_line(write, body, complaint):
    path = write("\n" + body)
    with pytest.raises(RobostackError, match=complaint) as refusal:
        launch_file.load(path, {})
    assert f"{path}:3" in str(refusal.value)


def test_unknown_argument_executable_and_broken_xml(write, tmp_path):
    path = write('<arg name="task" default=""/><node pkg="robostack" exec="gard" name="g"/>')
    with pytest.raises(UnknownName, match='no argument "tsk"; there are: task'):
        launch_file.load(path, {"tsk": "1"})
    with pytest.raises(UnknownName, match='no executable "gard"'):
        launch_file.load(path, {})[0].command()
    path.write_text("<launch><node></launch>")
    with pytest.raises(BadValue, match=r"cell.launch.xml:1: not XML"):
        launch_file.load(path, {})
    with pytest.raises(BadValue, match="cannot read launch file"):
        launch_file.load(tmp_path / "nowhere.xml", {})


def test_a_file_that_includes_itself_is_told_with_the_chain(write):
    include = '<include file="$(dirname)/{}"/>'.format
    path = write(include("b.launch.xml"), "a.launch.xml")
    write("\n" + include("../" + path.parent.name + "/a.launch.xml"), "b.launch.xml")
    chain = (
        "b.launch.xml:3: a launch file includes itself: a.launch.xml > b.launch.xml > a.launch.xml"
    )
    with pytest.raises(BadValue, match=chain + "$"):
        launch_file.load(path, {})
    twice = write('<node pkg="robostack" exec="guard"/>', "c.launch.xml")
    both = write(include(twice.name) * 2, "d.launch.xml")
    assert len(launch_file.load(both, {})) == 2
